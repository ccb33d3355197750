"""The endpoints, a file for each; ROUTERS has all of them."""

from fastapi import APIRouter

from gptneo_onnx.runtime.server.api import models

ROUTERS: list[APIRouter] = [models.router]
