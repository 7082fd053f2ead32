// The header of an installed mlaforge: `#include <mlaforge.h>` (docs/library.md).
#pragma once
#include "experiments/library.h"
