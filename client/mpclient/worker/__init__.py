"""The worker host: a supervisor and the processes it runs jobs in. `cli` is the `mpworker` command.

`host/` is the supervisor, `jobs/` what a worker process does. Here are the command, the three programs that a
host starts, and what several of these processes share:

| file          | what it is                                                        | runs in           |
|---------------|-------------------------------------------------------------------|-------------------|
| cli, commands | the command line                                                  | the supervisor    |
| working       | checks what it was told, and goes to work                         | the supervisor    |
| options       | what the command line said                                        | both              |
| process       | a worker process from its start to its end                        | a worker process  |
| nursery       | starts Processes, waits for them, sends them signals              | the nursery       |
| newborn       | a Process from its birth to its end                               | a Process         |
| interpreter   | how such a program is started and heard                           | the supervisor    |
| orphans       | worker processes born in the nursery, adopted by the supervisor   | nursery, supervisor |
| channel       | messages between supervisor and worker process                    | both              |
| mark          | which job a process is at, for its death report                   | both              |
| traces        | what a process leaves behind: its mark, and what it wrote         | nursery, supervisor |
| reports       | what is told of a process that died                               | nursery, supervisor |
| signals       | who does what on which signal                                     | both              |
| files         | how many files may be open                                        | both              |
| kernel        | what Linux does for a process that asks for it                    | nursery, supervisor |
| output        | bytes to lines, and the last of them                              | the supervisor    |
| streams       | `sys.stdout` of who works for programs                            | worker, Process   |
| descriptors   | the same of what is written past it                               | worker, Process   |
"""
