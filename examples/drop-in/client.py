# SPDX-License-Identifier: Apache-2.0
"""A program that asks a model server, as many programs do: one sentence a request, many at a time,
with the openai package. It knows nothing of sluice; only the base URL tells what it talks to."""

import asyncio

import openai


async def embed_all(base_url, model, texts, at_a_time):
    """The vector of each text."""
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        turns = asyncio.Semaphore(at_a_time)

        async def embed(text):
            async with turns:
                answer = await client.embeddings.create(model=model, input=text)
                return answer.data[0].embedding

        return await asyncio.gather(*(embed(text) for text in texts))
