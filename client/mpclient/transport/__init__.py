"""This process at one server: connecting, lanes, heartbeats, reconnecting. `mpclient.session` joins them.

| file       | what it is                                                                         |
|------------|------------------------------------------------------------------------------------|
| dialling   | one authenticated connection                                                       |
| tls        | one that speaks TLS                                                                |
| awake      | its wait for an answer: awake for a while, then asleep                             |
| lane       | the ordered calls of one thread, over a connection of its own                      |
| keeper     | the thread behind a session: the control connection, heartbeats                    |
| errands    | calls of the whole session that nobody waits for                                   |
| unsure     | what the server must hear of, and may not have                                     |
| patience   | how long to go on without a server                                                 |
| term       | a session as the server knows it, from its beginning to its end                    |
| references | how many references to shared objects this process holds                           |
| living     | which sessions, pools and such there are                                           |
| stale      | what it still thinks it holds, and the server has handed on                        |
"""
