"""W&B's own background process: told when it is gone, ended where it would hang, forgotten afterwards."""

from __future__ import annotations

from contextlib import suppress


def end_service() -> None:
    """End W&B's own process, which would try on for minutes, keep Python from ending, and our output open."""
    import wandb

    if wandb.run is not None:
        return  # the user's own run, which needs the process
    try:
        # W&B has no other way to it. Where there is none, it is left to itself.
        with suppress(AttributeError):
            process = wandb.setup()._connection._proc._process  # type: ignore[union-attr]
            process.kill()
            process.wait()
    finally:
        # A second Ctrl-C, too, must not leave a dead process to be asked at exit.
        forget_service()


def forget_service() -> None:
    """Forget W&B's dead process: the next run starts a new one, and nothing waits for it at exit."""
    import wandb

    # Raises what the dead process caused, and SystemExit with its exit code.
    with suppress(Exception, SystemExit):
        wandb.teardown()


def service_is_gone(error: Exception) -> bool:
    """Tell whether W&B's own background process has ended; by name, as W&B does not publish these errors."""
    return isinstance(error, ConnectionError) or type(error).__name__ in (
        "MailboxClosedError",
        "HandleAbandonedError",
    )


def in_words(error: Exception) -> str:
    """Say what went wrong in W&B, in one line."""
    if service_is_gone(error):
        return "its background process ended"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
