"""The worker host: a supervisor and the processes it runs jobs in. `cli` is the `mpworker` command.

| file          | what it is                                                        | runs in           |
|---------------|-------------------------------------------------------------------|-------------------|
| cli, commands | the command line                                                  | the supervisor    |
| supervisor    | decides: who is started, replaced, stopped, and when all is over  | the supervisor    |
| slots, child  | one place for a worker process, and the process in it             | the supervisor    |
| interpreter   | how such a process, or the nursery, is started and heard          | the supervisor    |
| lending       | processes beside the slots, while jobs wait for jobs of their own | the supervisor    |
| nursing       | programs' Processes: orders to the nursery, news to the server    | the supervisor    |
| link          | the connection to the server: finding it, commands, death reports | the supervisor    |
| reports       | what is told of a process that died                               | the supervisor    |
| memory        | limits of memory, and kills for want of it, for these reports     | the supervisor    |
| files         | how many files may be open                                        | both              |
| output        | bytes to lines, and the last of them                              | the supervisor    |
| options       | what the command line said                                        | both              |
| channel       | messages between supervisor and worker process                    | both              |
| mark          | which job a process is at, for its death report                   | both              |
| signals       | who does what on which signal                                     | both              |
| process       | a worker process from its start to its end                        | a worker process  |
| loop          | jobs in, run, results out                                         | a worker process  |
| desk          | the batch under way                                               | a worker process  |
| pace          | how many jobs to ask for                                          | a worker process  |
| exchange      | the round trip to the server, and what can go wrong with it       | a worker process  |
| tender        | the thread that hears the supervisor and watches slow batches     | a worker process  |
| stuck         | whether nested jobs without a slot get anywhere                   | a worker process  |
| run, failures | one recipe job: opened, called, its answer pickled; what failed   | a worker process  |
| run_pool      | one job of a pool: the same, or the exception itself              | a worker process  |
| pools         | what is known of pools: functions, initializer, how many jobs     | a worker process  |
| left_behind   | what an initializer left in its globals, for its pool's functions | a worker process  |
| shipped       | modules that a program brought along                              | a worker process  |
| streams       | what jobs print, on its way to their program                      | worker, Process   |
| nursery       | starts Processes, waits for them, sends them signals              | the nursery       |
| orphans       | worker processes born there, and adopted by the supervisor        | nursery, supervisor |
| kernel        | what Linux does for a process that asks for it                    | nursery, supervisor |
| newborn       | a Process from its birth to its end                               | a Process         |
"""
