"""Items to answers: inputs of one's own, and a folder that is watched."""
