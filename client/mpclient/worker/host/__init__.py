"""The supervisor of a worker host, in a process of its own, and what it looks after.

| file       | what it is                                                        |
|------------|-------------------------------------------------------------------|
| supervisor | decides: who is started, replaced, stopped, and when all is over  |
| slots      | one place for a worker process, and what is known of it           |
| child      | the process in it                                                 |
| lending    | processes beside the slots, while jobs wait for jobs of their own |
| nursing    | programs' Processes: orders to the nursery, news to the server    |
| orders     | these orders, which wait where the nursery takes none             |
| link       | the connection to the server: finding it, commands, death reports |
| memory     | limits of memory, and kills for want of it, for these reports     |
"""
