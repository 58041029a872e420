/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as people read them, for reports; they lie in base because the doctor's verdicts are sentences with numbers. */
#ifndef SEEP_OUTPUT_UNITS_H
#define SEEP_OUTPUT_UNITS_H

#include "base/units.h"

#endif
