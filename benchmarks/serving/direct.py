"""What the pipeline is compared with: the same model behind the same HTTP server, and nothing between them."""

import contextlib

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from birdwatch.records import new_id
from birdwatch.serving.gateway.ask import parse_ask
from birdwatch.serving.gateway.server import bind, serve_http
from birdwatch.serving.runner.model import Spec, load_model, score_batch
from birdwatch.signals import until_signalled

MODEL = load_model(Spec("1", "models:same"))


async def score(http: Request) -> Response:
    """Answer one question."""
    ask = parse_ask(await http.body())
    [answer] = score_batch(MODEL, [ask.features])
    reply = {"id": ask.id or new_id(), "score": answer.score, "reason": "first choice", "latency_seconds": 0.0}
    return Response(msgspec.json.encode(reply), media_type="application/json")


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v1/score", score, methods=["POST"])])
    with until_signalled() as stopping, contextlib.closing(bind("127.0.0.1", 0)) as bound:
        serve_http(app, bound, stopping)
