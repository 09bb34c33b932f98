from millstream.durable.memory import MemoryEngine
from millstream.testing.durable import check_log


async def test_the_memory_engine_keeps_the_contract_of_a_log() -> None:
    await check_log(MemoryEngine, keeps=False, shared=False)
    assert MemoryEngine.poll is None
