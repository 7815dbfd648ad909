"""The store: a folder of finished stages, each under the key of all that its numbers depend on.

The only owner of the disk layout: `<root>/<stage>-<first 16 digits of the key>/`, with a
`manifest.json` written last. A folder without a manifest is not done.
"""

from stackae.store.manifest import FORMAT, MANIFEST, chained_key
from stackae.store.stages import THREADS, Entry, Store

__all__ = ["FORMAT", "MANIFEST", "THREADS", "Entry", "Store", "chained_key"]
