from collections.abc import Mapping
from typing import Any

UFUNC_KEYWORDS: Mapping[str, Any]
