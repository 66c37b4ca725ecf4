#include "common.h"
int one(void) { return 1; }
