{#-
The keys of the raw rows that are new, gone or other than when this model was last built, as a
query. Raw rows are counted, and their hashes summed, by the hour in which they were ingested, or
happened where the table does not say when they came; of an hour that differs, all keys are done
again: those of its rows now, and those of its rows then. So it does not matter in which order
rows arrive, or whether they are replaced or deleted. Rows without a time share an hour, and what
changes in it touches all of them.

Arguments:
  table   name of the table in the raw contract
  key     the column whose values are wanted
-#}
{% macro keys_of_changed_hours(table, key) %}
{%- set relation = perennial.raw(table) -%}
{%- if not execute -%}
    select 1
{%- else -%}
{%- set found = perennial.raw_columns(table, relation) -%}
{%- set relation = perennial.without_forgotten(table, relation, found) -%}
{%- set rules = perennial.contract(table) -%}
{%- set moments = ['ingested_at'] if 'ingested_at' in rules.columns else [] -%}
{%- if 'ingested_at' not in found -%}
    {#- A table that the shop does not have has no columns, and no rows that need an hour. -#}
    {%- for column in rules.columns.values()
        if column.config.meta.happened and (column.name in found or not found) -%}
        {%- do moments.insert(loop.index0, column.name) -%}
    {%- endfor -%}
{%- endif -%}
{%- set moment = moments[0] -%}
{%- set hour = perennial.load_hour(perennial.typed(rules.columns[moment], found)) -%}
{%- set values = [] -%}
{%- for column in rules.columns if column in found %}{% do values.append('raw_table.' ~ column) %}{% endfor -%}
{%- set name = this.identifier -%}
{%- if not model.get('perennial_whole') -%}
    {#- Taken before the rows are read: what arrives in between is found to be new next time. -#}
    {%- do run_query('/* perennial: hours */ create or replace temp table hours_' ~ name ~ ' as select '
        ~ hour ~ ' as load_hour, cast(count(*) as hugeint) as n_rows, sum(cast(hash('
        ~ (values | join(', ') or '1') ~ ') as hugeint)) as row_hash from '
        ~ (relation if found else '(select 1 where false)') ~ ' as raw_table group by 1') -%}
    {%- do run_query("/* perennial: hours */ create or replace temp table changed_hours_" ~ name
        ~ " as select load_hour from (select load_hour, n_rows, row_hash from hours_" ~ name
        ~ " union all select load_hour, -n_rows, -row_hash from increments.loads where model_name = '"
        ~ model.name ~ "') as both_times group by 1 having sum(n_rows) <> 0 or sum(row_hash) <> 0") -%}
{%- endif -%}
    select {{ perennial.as_text({'name': key}, found) }} as {{ key }}
    from {{ relation if found else '(select 1 where false)' }} as raw_table
    where {{ hour }} in (select load_hour from changed_hours_{{ name }})
    union
    select target.{{ key }}
    from {{ this }} as target
    where {{ perennial.load_hour('target.' ~ moment) }} in (
        select load_hour from changed_hours_{{ name }}
    )
{%- endif -%}
{% endmacro %}


{#-
The hour of a moment; rows without one share an hour of their own.

Arguments:
  moment   when a row was ingested, or happened
-#}
{% macro load_hour(moment) -%}
    coalesce(date_trunc('hour', {{ moment }}), timestamp '0001-01-01')
{%- endmacro %}


{#- After a checked model: remember which raw rows it has taken in. -#}
{% macro remember_hours() %}
    {%- if execute and flags.WHICH in ['build', 'run'] and perennial.incremental_strategy() != 'none' -%}
    /* perennial: hours */
    delete from increments.loads where model_name = '{{ model.name }}';
    insert into increments.loads
    select '{{ model.name }}', load_hour, n_rows, row_hash from hours_{{ this.identifier }}
    {%- endif -%}
{% endmacro %}
