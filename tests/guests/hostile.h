/* For guests that hand bad arguments to the C library on purpose: silences the warnings about exactly that. */
#ifndef HOSTILE_H
#define HOSTILE_H
#include "guest.h"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"
#pragma GCC diagnostic ignored "-Wnonnull"
#endif
