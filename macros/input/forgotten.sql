{#- People whom the shop has forgotten stay out, whatever the raw tables still hold: their keys
    are known by hash only. `perennial forget` writes the list; see docs/forget.md. -#}

{#-
Before a run: take the list beside the warehouse into it, so that a warehouse that is made anew
forgets the same people. Without a list there is no schema `erasure`.

  forgotten   one row per key: its hash, and when it was forgotten
  salt        one row: what is put before every key that is hashed
-#}
{% macro load_forgotten() %}
    {% if target.type != 'duckdb' %}
        {% do return('') %}
    {% endif %}
    {#- A path may hold what glob() and read_json() would take for a pattern. -#}
    {% set file = (target.path ~ '.forgotten.jsonl') | replace("'", "''") | replace('[', '[[]')
        | replace('*', '[*]') | replace('?', '[?]') %}
    {% if not run_query("select 1 from glob('" ~ file ~ "')").rows %}
        {% do return('') %}
    {% endif %}
    {% do run_query('create schema if not exists erasure') %}
    {% do run_query('create table if not exists erasure.forgotten'
        ~ ' (key_hash varchar not null, forgotten_on date)') %}
    {% do run_query('create table if not exists erasure.salt (salt varchar not null)') %}
    {% set list = "read_json('" ~ file ~ "', format = 'newline_delimited',"
        ~ " columns = {salt: 'varchar', key_hash: 'varchar', forgotten_on: 'date'})" %}
    {% do run_query('insert into erasure.salt select distinct salt from ' ~ list
        ~ ' where salt is not null except select salt from erasure.salt') %}
    {% if run_query('select count(*) from erasure.salt').rows[0][0] != 1 %}
        {% do run_query('delete from erasure.salt where salt in (select salt from ' ~ list ~ ')') %}
        {% do perennial.stop('the list of forgotten people ' ~ target.path ~ '.forgotten.jsonl is '
            ~ 'not the list of this warehouse, or has no salt. Put back the one that belongs to '
            ~ 'it; without it, people would come back.') %}
    {% endif %}
    {% do run_query('insert into erasure.forgotten select key_hash, forgotten_on from ' ~ list
        ~ ' where key_hash is not null and key_hash not in (select key_hash from erasure.forgotten)') %}
{% endmacro %}


{#- Whether there is anybody to keep out of the raw tables. -#}
{% macro has_forgotten() %}
    {% if not execute or target.type != 'duckdb' %}
        {% do return(false) %}
    {% endif %}
    {% do return(run_query("select 1 from information_schema.tables where table_catalog = "
        ~ "current_database() and table_schema = 'erasure' and table_name = 'forgotten'").rows | length > 0) %}
{% endmacro %}


{#-
A raw relation without the rows of forgotten people, to stand after `from`; the relation itself
where nobody was forgotten. What is read from files was sifted when it was read.

Arguments:
  table     name of the table in the raw contract
  relation  the raw relation, or none
  found     its columns, as raw_columns() gives them
-#}
{% macro without_forgotten(table, relation, found) %}
    {#- A model's fingerprint must not tell whether anybody was forgotten: the hours of ingestion
        do, and only they say which keys to do again. -#}
    {% if not found or perennial.setting('shop') == 'files' or model.get('perennial_whole')
        or not perennial.has_forgotten() %}
        {% do return(relation) %}
    {% endif %}
    {% if table == 'orders' and flags.WHICH in ['build', 'run'] %}
        {% do perennial.note_forgotten_orders(relation, found) %}
    {% endif %}
    {% do return(perennial.sifted(table, relation, found)) %}
{% endmacro %}


{#-
A relation of raw rows without those of forgotten people, as a subquery.

Arguments:
  table     name of the table in the raw contract
  relation  the relation, as it stands after `from`
  found     its columns
-#}
{% macro sifted(table, relation, found) -%}
    {%- set kept = [] -%}
    {%- for column in perennial.contract(table).columns.values()
        if column.config.meta.person and column.name in found -%}
        {%- set kind = column.config.meta.person -%}
        {%- set key = perennial.as_text(column, found) -%}
        {%- if kind == 'session' -%}
            {#- A number of the sender's own, which another device may have used too. -#}
            {%- set key = 'case when ' ~ perennial.as_text({'name': 'customer_id'}, found)
                ~ ' is null and ' ~ perennial.as_text({'name': 'anonymous_id'}, found)
                ~ ' is null then ' ~ key ~ ' end' -%}
        {%- endif -%}
        {%- do kept.append('coalesce(' ~ perennial.forgotten_hash(kind, key)
            ~ ' not in (select key_hash from erasure.forgotten), true)') -%}
    {%- endfor -%}
    {%- if kept -%}
        (select * from {{ relation }} as raw_table where {{ kept | join(' and ') }})
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}


{#-
Put the orders that a forgotten customer has since placed on the list, so that their lines and
refunds, which name no customer, are left out with them.

Arguments:
  relation  the raw orders, as they stand after `from`
  found     their columns
-#}
{% macro note_forgotten_orders(relation, found) %}
    {% if 'customer_id' not in found %}
        {% do return('') %}
    {% endif %}
    {% set order_hash = perennial.forgotten_hash('order', perennial.as_text({'name': 'order_id'}, found)) %}
    {% set customer_hash = perennial.forgotten_hash('customer', perennial.as_text({'name': 'customer_id'}, found)) %}
    {% do run_query('insert into erasure.forgotten select ' ~ order_hash ~ ', max(forgotten_on) from '
        ~ relation ~ ' as raw_table inner join erasure.forgotten on key_hash = ' ~ customer_hash
        ~ ' where ' ~ order_hash ~ ' not in (select key_hash from erasure.forgotten) group by 1') %}
{% endmacro %}


{#-
A file of raw rows without those of forgotten people, to stand after `from`.

Arguments:
  table  name of the table in the raw contract
  file   the call that reads it, such as read_csv('orders.csv')
-#}
{% macro without_forgotten_of_file(table, file) %}
    {% if not perennial.has_forgotten() %}
        {% do return(file) %}
    {% endif %}
    {% set found = {} %}
    {% for row in run_query('describe select * from ' ~ file).rows %}
        {% do found.update({row[0] | lower: row[1] | upper}) %}
    {% endfor %}
    {% if table == 'orders' and 'order_id' in found %}
        {% do perennial.note_forgotten_orders(file, found) %}
    {% endif %}
    {% do return(perennial.sifted(table, file, found)) %}
{% endmacro %}


{#- Whether a line of a csv file that could not be cut into columns, in DuckDB's table of such
    lines, names nobody who was forgotten: a condition. -#}
{% macro is_of_nobody_forgotten() -%}
    {%- if perennial.has_forgotten() -%}
        line not in (
            select line
            from (
                select line, trim(unnest(string_split_regex(csv_line, '[,"]'))) as word
                from reject_errors
            ) as words
            where
                {%- for kind in ['customer', 'order', 'device'] %}
                {{ 'or ' if not loop.first -}}
                {{ perennial.forgotten_hash(kind, 'word') }} in (select key_hash from erasure.forgotten)
                {%- endfor %}
        )
    {%- else -%} true
    {%- endif -%}
{%- endmacro %}


{#-
The hash by which a forgotten key is known.

Arguments:
  kind  what kind of key: customer, order, device, session, event, review, question
  key   SQL expression: the key as text
-#}
{% macro forgotten_hash(kind, key) -%}
    sha256((select salt from erasure.salt) || '{{ kind }}:' || {{ key }})
{%- endmacro %}
