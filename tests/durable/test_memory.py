from tests.durable.restoring import saved_memory

from millstream.durable.memory import Memory, MemoryEngine
from millstream.testing.durable import check_log


async def test_the_memory_engine_keeps_the_contract_of_a_log() -> None:
    memory = Memory()
    await check_log(lambda: MemoryEngine(memory), save=lambda: saved_memory(memory))
    assert MemoryEngine.poll is None


async def test_engines_that_are_not_given_one_memory_share_nothing() -> None:
    await check_log(MemoryEngine, keeps=False, shared=False)
