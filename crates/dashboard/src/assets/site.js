// Times, changes, keys, completion: all else works without.
const {body} = document, {up, live: page} = body.dataset;
const $ = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const on = (target, name, then) => target?.addEventListener(name, then);
const make = (name, properties, ...inner) => {
	const element = Object.assign(document.createElement(name), properties);
	element.append(...inner);
	return element;
};
const policy = self.trustedTypes?.createPolicy('dashboard', {createHTML: (html) => html});
const parsed = (html) => make('template', {innerHTML: policy ? policy.createHTML(html) : html}).content;

const age = (s) => s < 99 ? `${Math.round(s)} s` : s < 6e3 ? `${Math.round(s / 60)} min`
	: s < 2e5 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86400).toFixed(1)} d`;
const times = () => all('time').forEach((time) => {
	const date = new Date(time.dateTime), [day, clock] = date.toLocaleString('sv').split(' ');
	const text = time.className ? age(Math.max(0, (Date.now() - date) / 1e3))
		: day === new Date().toLocaleDateString('sv') ? clock : `${day} ${clock}`;
	if (time.textContent !== text) Object.assign(time, {textContent: text, title: date.toISOString()});
});

// Focus, selection, what is typed and what is open stay.
const morph = (from, to) => {
	if (from.isEqualNode(to)) return;
	if (from.nodeName !== to.nodeName || from.nodeType !== 1) return from.replaceWith(to);
	for (const {name} of [...from.attributes]) if (!to.hasAttribute(name) && name !== 'open') from.removeAttribute(name);
	for (const {name, value} of to.attributes) from.setAttribute(name, value);
	const before = [...from.childNodes];
	[...to.childNodes].forEach((node) => before.length ? morph(before.shift(), node) : from.append(node));
	before.forEach((node) => node.remove());
};

// Rows change in place; new ones wait: nothing moves.
const lists = new Map(), newer = $('newer');
const arrange = ({order, known}, list) => {
	list.replaceChildren(...order.map((id) => $(id) || parsed(known[id])));
	newer?.setAttribute('hidden', '');
	times();
};
const rows = (list, {order, rows}) => {
	const state = {order, known: {...lists.get(list)?.known, ...rows}};
	lists.set(list, state);
	for (const row of list.rows) {
		if (rows[row.id]) {
			morph(row, parsed(rows[row.id]).firstElementChild);
			row.className = 'changed';
			row.onanimationend = () => row.classList.remove('changed');
		}
		row.classList.toggle('gone', !order.includes(row.id));
	}
	const fresh = order.filter((id) => !$(id)).length, gone = list.querySelectorAll('.gone').length;
	if (!newer || !list.rows.length) return arrange(state, list);
	newer.hidden = !fresh && !gone;
	newer.textContent = `Show changes: ${fresh} more match, ${gone} no longer do ↑`;
};
on(newer, 'click', () => lists.forEach(arrange));

const banner = (text, href) => $('banners').replaceChildren(...text ? [make('p', {}, text, ' ', href ? make('a', {href}, 'Go on') : '')] : []);
const apply = ({state, regions}) => {
	body.dataset.state = state;
	for (const region of regions) {
		const element = $(region.id);
		if (region.order) rows(element, region);
		else {
			const to = element.cloneNode();
			to.append(parsed(region.html));
			morph(element, to);
		}
	}
	times();
};

// Of the pages that are seen four have a stream, others ask.
let source, timer, tag = '', isPaused, isOver;
const me = Math.random(), peers = new Set(), channel = new BroadcastChannel('live');
const tell = (what) => channel.postMessage({me, what, streams: !!source});
on(channel, 'message', ({data}) => {
	peers[data.streams ? 'add' : 'delete'](data.me);
	if (data.what === 'hi') tell();
});
const close = () => {
	source?.close();
	source = clearInterval(timer);
	tell();
};
const over = (text, place) => {
	isOver = true;
	close();
	banner(text, up + place);
};
const loggedOut = () => over('You are logged out.', `login?next=${encodeURIComponent(page)}`);
const lost = 'The server does not answer.';
const address = (kind) => `${up}${kind}?page=${encodeURIComponent(page)}`;
const get = (place) => fetch(place, {headers: {'If-None-Match': tag}, redirect: 'manual'}).catch(() => ({}));
const ask = async () => {
	const answer = await get(address('regions'));
	if (answer.type === 'opaqueredirect') return loggedOut();
	banner(answer.status < 305 ? '' : lost);
	if (!answer.ok) return;
	tag = answer.headers.get('ETag');
	apply(await answer.json());
};
const follow = () => {
	close();
	timer = setInterval(ask, 5e3);
	ask();
};
const open = () => {
	if (!page || isPaused || isOver || document.hidden || source) return;
	if (peers.size > 3) return follow();
	source = new EventSource(`${address('live')}&state=${body.dataset.state}`);
	tell();
	on(source, 'open', () => banner(''));
	on(source, 'error', () => source?.readyState === 2 ? follow() : banner(lost));
	on(source, 'regions', ({data}) => apply(JSON.parse(data)));
	on(source, 'login', loggedOut);
	on(source, 'gone', ({data}) => over(`This page is no longer there: ${JSON.parse(data)}.`, 'jobs'));
};
on(document, 'visibilitychange', () => document.hidden ? close() : open());
on(self, 'pagehide', close);
const pause = $('pause');
pause?.toggleAttribute('hidden');
on(pause, 'click', () => {
	isPaused = !isPaused;
	pause.ariaPressed = isPaused;
	isPaused ? close() : open();
});

const shut = (but) => all('details:has(> .menu)').forEach((menu) => { menu.open &&= menu.contains(but); });
let last, current;
const select = (step) => {
	const links = all('tbody :first-child > a');
	current = links[Math.min(links.length - 1, Math.max(0, links.indexOf(current) + step))];
	current?.focus();
};
on(document, 'keydown', (event) => {
	const {key, target, ctrlKey, metaKey, altKey} = event, before = last;
	if (ctrlKey || metaKey || altKey || target.nodeName === 'INPUT') return;
	last = key;
	if (before === 'g') return $(`to-${key}`)?.click();
	if (key === '/') event.preventDefault();
	({
		'/': () => $('filter')?.select(),
		j: () => select(1),
		k: () => select(-1),
		'.': () => newer?.click(),
		p: () => pause?.click(),
		'?': () => $('keys')?.showModal(),
		Escape: () => shut(body),
	})[key]?.();
});
on(document, 'click', ({target}) => shut(target));

const field = $('filter'), list = make('ul', {id: 'options', role: 'listbox', hidden: true, ariaLabel: 'Completions'});
let from = 0, chosen = -1, asked = 0;
const show = (is) => {
	list.hidden = !is;
	field.ariaExpanded = is;
	choose(-1);
};
const choose = (place) => {
	chosen = place;
	[...list.children].forEach((item, index) => { item.ariaSelected = index === place; });
	field.setAttribute('aria-activedescendant', list.children[place]?.id || '');
	list.children[place]?.scrollIntoView({block: 'nearest'});
};
const take = (place) => {
	field.setRangeText(list.children[place].firstChild.data, from, field.selectionStart, 'end');
	complete();
};
const complete = async () => {
	const number = ++asked, typed = field.value.slice(0, field.selectionStart);
	show(false);
	const answer = await get(`${field.dataset.complete}?filter=${encodeURIComponent(typed)}`);
	if (!answer.ok || number !== asked) return;
	const {from: start, items} = await answer.json();
	from = start;
	list.replaceChildren(...items.map(({text, note = ''}, place) => make('li', {
		id: `option-${place}`, role: 'option', onmousedown: (event) => { event.preventDefault(); take(place); },
	}, text, make('span', {className: 'muted'}, note))));
	show(items.length && document.activeElement === field);
};
if (field) {
	field.after(list);
	Object.assign(field, {role: 'combobox', ariaAutoComplete: 'list', ariaExpanded: false});
	field.setAttribute('aria-controls', 'options');
	on(field, 'input', complete);
	on(field, 'blur', () => show(false));
	on(field, 'keydown', (event) => {
		const {key} = event, step = {ArrowDown: 1, ArrowUp: -1}[key], count = list.children.length;
		if (step && list.hidden) complete();
		else if (step) choose((Math.max(chosen, step < 0 ? 0 : -1) + step + count) % count);
		else if (/Enter|Tab/.test(key) && chosen >= 0) take(chosen);
		else return key === 'Escape' && show(false);
		event.preventDefault();
	});
}

times();
setInterval(times, 1e3);
tell('hi');
setTimeout(open, 100);
