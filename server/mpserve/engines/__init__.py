"""Where objects live: an engine executes operations on them and says when parked calls may go on."""
