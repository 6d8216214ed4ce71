"""What FastAPI cannot tell of the OpenAPI document by itself: the form that `upload` reads."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from worldr1.serve.wire import ScoreRequest

_, _MODELS = models_json_schema([(ScoreRequest, "validation")], ref_template="#/components/schemas/{model}")

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["request", "video"],
                    "additionalProperties": False,
                    "properties": {
                        "request": {"$ref": "#/components/schemas/ScoreRequest"},
                        "video": {
                            "type": "string",
                            "format": "binary",
                            "description": "an mp4 file, or safetensors bytes with one tensor 'video' [T,3,H,W]: "
                            "U8, or F16, BF16 or F32 in [0,1]",
                        },
                    },
                },
                "encoding": {
                    "request": {"contentType": "application/json"},
                    "video": {"contentType": "video/mp4, application/octet-stream"},
                },
            }
        },
    }
}


class Documented(FastAPI):
    """An application whose document holds the models of the form."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["schemas"].update(_MODELS["$defs"])
        return document
