"""Models as artifacts that the stand-in for a W&B server has, as far as finding and fetching needs it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Published:
    """One version of a model, called `name` in the project `p` of the entity `e`."""

    name: str
    metadata: dict[str, Any]
    aliases: list[str]
    files: dict[str, bytes] = field(default_factory=dict)

    def membership(self) -> dict[str, Any]:
        owner = {"name": "e", "__typename": "Entity"}
        project = {"id": "p", "internalId": "p", "name": "p", "entity": owner}
        collection = {"__typename": "ArtifactSequence", "id": "s", "name": self.name, "project": project}
        aliases = [{"id": alias, "alias": alias, "artifactCollection": collection} for alias in self.aliases]
        when = "2026-01-01T00:00:00Z"
        artifact = {
            "id": "m",
            "artifactSequence": collection,
            "versionIndex": 0,
            "artifactType": {"name": "model"},
            "description": None,
            "metadata": json.dumps(self.metadata),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": False,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": sum(map(len, self.files.values())),
            "digest": "d" * 32,
            "commitHash": "c",
            "fileCount": len(self.files),
            "createdAt": when,
            "updatedAt": None,
            "aliases": aliases,
        }
        return {
            "id": "n",
            "versionIndex": 0,
            "createdAt": when,
            "aliases": aliases,
            "artifactCollection": collection,
            "artifact": artifact,
        }

    def manifest(self) -> bytes:
        contents = {
            name: {"digest": base64.b64encode(hashlib.md5(content).digest()).decode(), "size": len(content)}
            for name, content in self.files.items()
        }
        policy = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
        return json.dumps({"version": 1, "contents": contents, **policy}).encode()


def answer(models: list[Published], name: str, given: dict[str, Any], url: str) -> dict[str, Any] | None:
    """What the server answers a query about models; None where that is another's affair."""
    match name:
        case "GetDefaultEntity":
            return {"viewer": {"id": "u", "entity": "e"}}
        case "ArtifactMembershipByName":
            called, _, alias = str(given["name"]).partition(":")
            found = [each for each in models if each.name == called and alias in each.aliases]
            return {"project": {"artifactCollectionMembership": found[0].membership() if found else None}}
        case "FetchArtifactManifest":
            return {"artifact": {"currentManifest": {"id": "m", "file": {"directUrl": f"{url}/manifest"}}}}
        case "GetArtifactMembershipFileUrls":
            names = [file for each in models for file in each.files]
            edges = [{"node": {"name": file, "directUrl": f"{url}/files/{file}"}} for file in names]
            files = {"pageInfo": {"hasNextPage": False, "endCursor": None}, "edges": edges}
            collection = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
            return {"project": {"artifactCollection": collection}}
        case "ArtifactByID":
            return {"artifact": Published("logged", {}, []).membership()["artifact"]}
        case "FetchOrgInfoFromEntity":
            organization = {"name": "o", "orgEntity": {"name": "o"}}
            return {"entity": {"organization": organization, "user": None}}
        case "LinkArtifact":
            linked = Published("linked", {}, ["latest"]).membership()
            return {"result": {"versionIndex": 0, "artifactMembership": linked}}
    return None


def content(models: list[Published], path: str) -> bytes | None:
    """What lies at a path of the server; None where that is not of a model."""
    for each in models:
        if path == "/manifest":
            return each.manifest()
        # The storage names files by their digests, and the addresses that a query gives by their names.
        for name, data in each.files.items():
            if path == f"/files/{name}" or hashlib.md5(data).hexdigest() in path:
                return data
    return None
