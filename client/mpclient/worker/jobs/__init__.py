"""Jobs inside a worker process (`mpclient.worker.process`).

| file        | what it is                                                        |
|-------------|-------------------------------------------------------------------|
| loop        | jobs in, run, results out                                         |
| desk        | the batch under way                                               |
| ahead       | the batch that comes next, fetched meanwhile                      |
| exchange    | the round trip to the server, and what can go wrong with it       |
| pace        | how many jobs to ask for                                          |
| tender      | the thread that hears the supervisor and watches slow batches     |
| stuck       | whether nested jobs without a slot get anywhere                   |
| run         | one job of the recipe: opened, called, its answer pickled         |
| run_pool    | one job of a pool: the same, or the exception itself              |
| failures    | the texts of what went wrong                                      |
| pools       | what is known of pools: functions, initializer, how many jobs     |
| left_behind | what an initializer left in its globals, for its pool's functions |
| shipped     | modules that a program brought along                              |
"""
