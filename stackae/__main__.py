"""`python -m stackae`."""


def _enter() -> None:
    from stackae.cli import main

    main()


if __name__ == "__main__":
    _enter()
