/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field numbers of pprof's profile.proto, version 3, as far as memory profiles use it.
 * Wire types: a tag is field << 3 | type; 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
 */
#ifndef SEEP_FORMAT_PPROF_H
#define SEEP_FORMAT_PPROF_H

#include "format/private.h"

enum pprof_profile {
	PPROF_SAMPLE_TYPE = 1,
	PPROF_SAMPLE = 2,
	PPROF_MAPPING = 3,
	PPROF_LOCATION = 4,
	PPROF_FUNCTION = 5,
	PPROF_STRING = 6,
	PPROF_DROP_FRAMES = 7,
	PPROF_KEEP_FRAMES = 8,
	PPROF_TIME_NANOS = 9,
	PPROF_DURATION_NANOS = 10,
	PPROF_PERIOD_TYPE = 11,
	PPROF_PERIOD = 12,
	PPROF_COMMENT = 13,
	PPROF_DEFAULT_TYPE = 14,
	PPROF_LAST_FIELD = 15,
};
enum pprof_type { PPROF_TYPE_NAME = 1, PPROF_TYPE_UNIT = 2 };
enum pprof_sample { PPROF_SAMPLE_LOCATION = 1, PPROF_SAMPLE_VALUE = 2, PPROF_SAMPLE_LABEL = 3 };
enum pprof_label {
	PPROF_LABEL_KEY = 1,
	PPROF_LABEL_STR = 2,
	PPROF_LABEL_NUM = 3,
	PPROF_LABEL_UNIT = 4
};
enum pprof_mapping {
	PPROF_MAPPING_ID = 1,
	PPROF_MAPPING_START = 2,
	PPROF_MAPPING_LIMIT = 3,
	PPROF_MAPPING_OFFSET = 4,
	PPROF_MAPPING_FILE = 5,
	PPROF_MAPPING_BUILD_ID = 6,
	PPROF_MAPPING_HAS_FUNCTIONS = 7,
	PPROF_MAPPING_HAS_FILES = 8,
	PPROF_MAPPING_HAS_LINES = 9,
	PPROF_MAPPING_HAS_INLINES = 10,
};
enum pprof_location {
	PPROF_LOCATION_ID = 1,
	PPROF_LOCATION_MAPPING = 2,
	PPROF_LOCATION_ADDRESS = 3,
	PPROF_LOCATION_LINE = 4
};
enum pprof_line { PPROF_LINE_FUNCTION = 1, PPROF_LINE_NUMBER = 2 };
enum pprof_function {
	PPROF_FUNCTION_ID = 1,
	PPROF_FUNCTION_NAME = 2,
	PPROF_FUNCTION_SYSTEM_NAME = 3,
	PPROF_FUNCTION_FILE = 4
};

#define PPROF_TITLE "pprof"
#define PPROF_PID_COMMENT "pid: "
#define PPROF_COMMAND_COMMENT "command: "

struct seep_error *pprof_read(struct format_input *in, struct profile **ret_profile);

#endif
