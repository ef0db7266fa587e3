"""The journal: every acknowledged change on disk before its answer leaves.

| file    | what it is                                                                 | runs in             |
|---------|----------------------------------------------------------------------------|---------------------|
| codec   | a turn's records and answers as bytes, and back                            | all                 |
| answers | answered calls as entries, and back                                       | all                 |
| store   | the folder: who may use it, its files, rows in and out                     | commit thread       |
| commit  | the thread that writes turns, many at once when it is behind               | commit thread       |
| engine  | the memory engine whose answers wait for the commit                        | the loop            |
| restore | rows to objects, sessions and kept answers                                 | start, compaction   |
| compact | writes the state as a shorter journal, in a process beside the server      | its own process     |
| portable | the state as lines of JSON, and back                                      | export, import      |

    turn ends --records, answers--> commit thread --fsync--> loop: answers leave
                                        |
              journal-1.db  journal-2.db  …   (rows of turns, in order)
              snapshot-2.db                   (the state before journal-2, as records)
"""
