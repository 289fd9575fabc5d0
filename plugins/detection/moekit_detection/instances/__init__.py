"""The task `instances`: the pixels of each object, found by the queries of the task `detect`."""
