"""The run folder: its files, its journal, what a run was made with."""
