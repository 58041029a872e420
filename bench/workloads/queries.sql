-- An in-memory database: inserts, an index, joins, groups, sorts, text; many prepared statements are not the point,
-- the page cache and the sorter are.
pragma temp_store = memory;
create table item(id integer primary key, name text, price real, shelf integer);
create table sale(id integer primary key, item integer, day integer, note text);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 60000)
insert into item select i, 'item number ' || i, (i * 7919) % 1000 / 10.0, i % 97 from c;
with recursive c(i) as (select 1 union all select i + 1 from c where i < 200000)
insert into sale select i, (i * 31) % 60000 + 1, i % 365, 'note ' || (i % 1000) from c;
create index sale_item on sale(item);
create index item_name on item(name);
select shelf, count(*), round(sum(price), 1) from item join sale on sale.item = item.id group by shelf order by 3 desc limit 5;
select count(*) from sale where note like '%77%';
select group_concat(name, ',') from (select name from item where shelf = 13 order by name limit 20);
select day, json_group_array(item) from sale where id < 3000 group by day order by day limit 2;
update item set name = upper(name) where id % 3 = 0;
delete from sale where id % 5 = 0;
select count(*), max(length(note)) from sale;
