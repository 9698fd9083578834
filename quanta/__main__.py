"""`python -m quanta` is `quanta`."""

from quanta.cli import main

if __name__ == "__main__":  # workers in processes of their own import it again
    main(prog_name="quanta")
