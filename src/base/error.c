/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that a user will read: see error.h. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seep_error seep_error_nomem = { ENOMEM, (char *)"out of memory", NULL };

static struct seep_error *error_make(int code, char *message)
{
	struct seep_error *err;

	if (!message)
		return &seep_error_nomem;
	err = calloc(1, sizeof(*err));
	if (!err) {
		free(message);
		return &seep_error_nomem;
	}
	err->code = code;
	err->message = message;
	return err;
}

struct seep_error *seep_error_new(int code, const char *fmt, ...)
{
	char *text = NULL, *full = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r < 0)
		return &seep_error_nomem;
	if (!code)
		return error_make(0, text);
	r = asprintf(&full, "%s: %s", text, strerror(code));
	free(text);
	return error_make(code, r < 0 ? NULL : full);
}

struct seep_error *seep_error_wrap(struct seep_error *err, const char *fmt, ...)
{
	char *text = NULL, *full = NULL;
	va_list ap;
	int r;

	if (!err || err == &seep_error_nomem)
		return err;
	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r < 0)
		return err;
	r = asprintf(&full, "%s: %s", text, err->message);
	free(text);
	if (r < 0)
		return err;
	free(err->message);
	err->message = full;
	return err;
}

struct seep_error *seep_error_hint(struct seep_error *err, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int r;

	if (!err || err == &seep_error_nomem)
		return err;
	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r >= 0) {
		free(err->hint);
		err->hint = text;
	}
	return err;
}

struct seep_error *seep_error_set_code(struct seep_error *err, int code)
{
	if (err && err != &seep_error_nomem)
		err->code = code;
	return err;
}

void seep_error_free(struct seep_error *err)
{
	if (!err || err == &seep_error_nomem)
		return;
	free(err->message);
	free(err->hint);
	free(err);
}
