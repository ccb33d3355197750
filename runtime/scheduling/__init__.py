"""Continuous batching: many requests share the slots of one engine, and each gets its own result.

    with Scheduler(model, slots=8) as scheduler:
        stream = scheduler.submit(input_ids=[[15496]], max_new_tokens=20, do_sample=True, seed=1)
        for event in stream:
            print(event.token)

- scheduler.py: takes requests, and has a thread that serves them
- async_engine.py: the same for asyncio: `async for event in engine.generate(...)`
- turns.py: what the thread does in a turn: admit, read prompts, decode a token of every slot
- waiting.py, slots.py, budget.py: the queue; which slots are free; how much of the prompts a turn
  reads
- request.py, stream.py, events.py: a request, from its arrival to its last token
- prompt_lane.py, prefill.py, prompt_cuts.py: read prompts, a chunk at a time, where they may be cut
- prefix_store.py, prefix_tree.py: what later prompts may begin with
- prompt_scores.py, pooled_states.py: what is kept of what a chunk gives
- prompt_requests.py, prompt_results.py: requests that only read a prompt, and their results
- running.py, generation_rows.py: a request in its slots; how it chooses: sampled, guided or beams
- drafts.py: candidates for a sequence that runs alone
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
from gptneo_onnx.runtime.scheduling.prefix_store import PrefixStatistics as PrefixStatistics
from gptneo_onnx.runtime.scheduling.prompt_results import PromptScores as PromptScores
from gptneo_onnx.runtime.scheduling.scheduler import Scheduler as Scheduler
from gptneo_onnx.runtime.scheduling.settings import SchedulerSettings as SchedulerSettings
from gptneo_onnx.runtime.scheduling.statistics import FinishObserver as FinishObserver
from gptneo_onnx.runtime.scheduling.statistics import Outcome as Outcome
from gptneo_onnx.runtime.scheduling.statistics import RequestStatistics as RequestStatistics
from gptneo_onnx.runtime.scheduling.statistics import SchedulerStatistics as SchedulerStatistics
from gptneo_onnx.runtime.scheduling.stream import TokenStream as TokenStream
