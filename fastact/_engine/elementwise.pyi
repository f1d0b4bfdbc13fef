from typing import Any

class KernelSet:
    ufunc: Any
    def __init__(
        self,
        addresses: dict[str, int],
        name: str,
        documentation: str,
        inputs: int,
        parameters: int,
        outputs: int,
        cost: float,
        neutral: tuple[float, ...],
        copies: bool = ...,
    ) -> None: ...
    def add_bfloat16(self, type_number: int) -> None: ...
