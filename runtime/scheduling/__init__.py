"""Continuous batching: many requests share the slots of one engine, and each gets its own result.

    with Scheduler(model, slots=8) as scheduler:
        stream = scheduler.submit(input_ids=[[15496]], max_new_tokens=20, do_sample=True, seed=1)
        for event in stream:
            print(event.token)

- scheduler.py: the loop: admit, prefill a chunk, decode a token of every slot
- async_engine.py: the same for asyncio: `async for event in engine.generate(...)`
- request.py, stream.py, events.py: a request, from its arrival to its last token
- prefill.py: reads prompts, a chunk at a time
- prompt_scores.py, pooled_states.py: what is kept of what a chunk gives
- prompt_requests.py, prompt_results.py: requests that only read a prompt, and their results
- generation_rows.py: the rows of a running request: sampled, guided or beams
- slots.py: which slot holds what
- budget.py: how many tokens of a prompt a step may read
- statistics.py: what requests and the scheduler took
- settings.py, arguments.py, errors.py
"""

from gptneo_onnx.runtime.scheduling.async_engine import AsyncEngine as AsyncEngine
from gptneo_onnx.runtime.scheduling.errors import QueueFullError as QueueFullError
from gptneo_onnx.runtime.scheduling.errors import RequestTimeoutError as RequestTimeoutError
from gptneo_onnx.runtime.scheduling.errors import SchedulerClosedError as SchedulerClosedError
from gptneo_onnx.runtime.scheduling.events import FinishReason as FinishReason
from gptneo_onnx.runtime.scheduling.events import PromptEvent as PromptEvent
from gptneo_onnx.runtime.scheduling.events import TokenEvent as TokenEvent
from gptneo_onnx.runtime.scheduling.events import TokenScore as TokenScore
from gptneo_onnx.runtime.scheduling.pooled_states import Pooling as Pooling
from gptneo_onnx.runtime.scheduling.prompt_results import PromptScores as PromptScores
from gptneo_onnx.runtime.scheduling.scheduler import Scheduler as Scheduler
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings as SchedulerSettings
from gptneo_onnx.runtime.scheduling.statistics import FinishObserver as FinishObserver
from gptneo_onnx.runtime.scheduling.statistics import Outcome as Outcome
from gptneo_onnx.runtime.scheduling.statistics import RequestStatistics as RequestStatistics
from gptneo_onnx.runtime.scheduling.statistics import SchedulerStatistics as SchedulerStatistics
from gptneo_onnx.runtime.scheduling.stream import TokenStream as TokenStream
