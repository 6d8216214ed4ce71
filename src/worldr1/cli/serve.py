"""`worldr1 serve`: the reward over HTTP."""

from __future__ import annotations

from pathlib import Path


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    recipe: str = "tiny",
    token_file: Path | None = None,
    max_batch: int = 8,
    max_wait: float = 0.02,
    queue: int = 32,
    rate: float = 20.0,
    burst: int = 64,
    max_megabytes: int = 128,
    max_frames: int = 129,
    max_pixels: int = 1280 * 720,
    max_prompt: int = 2000,
    timeout: float = 300.0,
    drain: float = 60.0,
) -> int:
    """Serve the reward of a recipe over HTTP until SIGTERM or Ctrl-C; the API is told at /openapi.json.

    Args:
        host: address to listen at; another than this machine's own needs --token-file.
        port: port to listen at; 0 takes a free one and logs it.
        recipe: name of a shipped recipe, or a YAML file, whose reward is served.
        token_file: file with one access token a line.
        max_batch: most videos that the reward gets at once.
        max_wait: seconds that a video waits for others to fill a batch.
        queue: most requests at work at once; others get 503 and when to try again.
        rate: requests a second of one token in the long run; beyond it 429.
        burst: requests of one token at once.
        max_megabytes: longest upload, and largest decoded video, MiB.
        max_frames: most frames of a video.
        max_pixels: most pixels of a frame.
        max_prompt: longest prompt, characters.
        timeout: seconds in which a video must be scored; beyond them 503.
        drain: seconds that running requests get after SIGTERM.
    """
    from worldr1.recipes import load_recipe
    from worldr1.rl.assemble import build_composer
    from worldr1.serve.access import Tokens
    from worldr1.serve.server import listen, run
    from worldr1.serve.service import Service, describe
    from worldr1.serve.settings import MIB, ServiceSettings, is_loopback

    if token_file is None and not is_loopback(host):
        raise ValueError(f"--host {host} is open to other machines; give --token-file with one access token a line")
    settings = ServiceSettings(
        upload_bytes=max_megabytes * MIB,
        video_bytes=max_megabytes * MIB,
        frames=max_frames,
        pixels=max_pixels,
        prompt_length=max_prompt,
        rate=rate,
        burst=burst,
        queue=queue,
        batch=max_batch,
        batch_wait=max_wait,
        score_seconds=timeout,
        drain_seconds=drain,
    )
    tokens = Tokens.from_file(token_file) if token_file is not None else Tokens()
    reward_settings = load_recipe(recipe)
    with listen(host, port) as at:
        composer = build_composer(reward_settings)
        run(Service(composer, describe(composer), settings, tokens), at)
    return 0
