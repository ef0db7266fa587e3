"""The worker host: a supervisor and the processes it runs jobs in."""
