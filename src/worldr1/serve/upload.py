"""Reading the form of POST /v1/scores, which `document` describes."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from worldr1.recipes.explain import explain
from worldr1.serve.refusal import Refused
from worldr1.serve.sample import Upload
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import ScoreRequest

_LONGEST_JSON = 256 * 2**10


async def read_upload(request: Request, settings: ServiceSettings) -> Upload:
    """Read the form and check all but the video.

    Raises:
        Refused: 415 for another kind of body, 400 for a broken form, 422 for wrong fields.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refused(415, "send multipart/form-data with the fields request (JSON) and video (a file)")
    try:
        async with request.form(max_files=1, max_fields=1, max_part_size=_LONGEST_JSON) as form:
            text, file = form.get("request"), form.get("video")
            if not isinstance(text, str) or not isinstance(file, UploadFile) or len(form) != 2:
                raise Refused(422, "the form must have the field request (JSON) and the file video, and no other")
            return Upload(_parse(text, settings), await file.read())
    except HTTPException as error:
        raise Refused(400, f"the form is broken: {error.detail}") from error
    except ClientDisconnect as error:
        raise Refused(400, "the body ended early") from error


def _parse(text: str, settings: ServiceSettings) -> ScoreRequest:
    try:
        request = ScoreRequest.model_validate_json(text)
    except ValidationError as error:
        raise Refused(422, f"request: {explain(error)}") from error
    if not request.prompt.strip():
        raise Refused(422, "request: the prompt is empty")
    if len(request.prompt) > settings.prompt_length:
        raise Refused(422, f"request: the prompt is longer than {settings.prompt_length} characters")
    return request
