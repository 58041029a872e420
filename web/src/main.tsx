// SPDX-License-Identifier: Apache-2.0
import { render } from 'preact';
import './style/base.css';
import './style/parts.css';
import './style/views.css';
import { App } from './app';
import { start } from './state/store';

start();
render(<App />, document.getElementById('app')!);
