"""`python -m moekit`."""

from moekit.cli.main import main

if __name__ == "__main__":
    main()
