/* SPDX-License-Identifier: Apache-2.0 */
/* A module that is loaded and unloaded: only its addresses matter. */
int track_plugin_function(int x);

int track_plugin_function(int x)
{
	return 3 * x + 1;
}
