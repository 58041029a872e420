/* SPDX-License-Identifier: Apache-2.0 */
/* The same calls from C++, and the class that guards a scope. */
#include "api_calls.c"
