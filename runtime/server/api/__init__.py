"""The endpoints, a file for each; ROUTERS has all of them."""

from fastapi import APIRouter

from gptneo_onnx.runtime.server.api import completions, models

ROUTERS: list[APIRouter] = [completions.router, models.router]
