// SPDX-License-Identifier: Apache-2.0
// Every name is set as text: none is markup.
'use strict';

function size(bytes) {
  if (bytes === null) return '';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let u = 0;
  while (bytes >= 1024 && u < 4) { bytes /= 1024; u++; }
  return (u && bytes < 10 ? bytes.toFixed(2) : u && bytes < 100 ? bytes.toFixed(1) : bytes.toFixed(0)) + ' ' + units[u];
}

function cell(row, text, number) {
  const td = row.insertCell();
  td.textContent = text;
  if (number) td.className = 'n';
  return td;
}

async function show() {
  const state = document.getElementById('state'), rows = document.getElementById('rows');
  const answer = await fetch('/api/v1/processes');
  const data = await answer.json();
  if (!answer.ok) {
    state.textContent = data.error.message + '. ' + (data.error.hint || '');
    return;
  }
  const shown = data.processes.filter(p => p.tracked || p.recorded);
  state.textContent = shown.length ? '' : 'Nothing is tracked yet: seep run -- PROGRAM, or seep attach PID.';
  rows.replaceChildren();
  for (const p of shown) {
    const row = rows.insertRow();
    cell(row, p.command);
    cell(row, p.pid);
    cell(row, size(p.inuse_bytes), true);
    cell(row, size(p.rss_bytes), true);
    cell(row, p.tracked && p.state === 'running' ? 'tracked' : p.state);
    const links = cell(row, '');
    const view = p.tracked && p.state === 'running' ? 'now:' + p.id : 'latest:' + p.id;
    if (p.tracked || p.snapshots)
      for (const kind of ['text', 'html', 'svg']) {
        const a = document.createElement('a');
        a.href = '/api/v1/view/' + kind + '?view=' + encodeURIComponent(view);
        a.textContent = kind === 'text' ? 'report' : kind === 'html' ? 'page' : 'flame graph';
        links.append(a);
      }
  }
}

show().catch(e => { document.getElementById('state').textContent = String(e); });
setInterval(() => show().catch(() => {}), 3000);
