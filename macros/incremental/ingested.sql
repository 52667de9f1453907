{#-
The keys of the raw rows that are new, gone or other than when this model was last built, as a
query. Raw rows are counted, and their hashes summed, by the hour in which they were ingested;
of an hour that differs, all keys are done again: those of its rows now, and those of its rows
then. So it does not matter in which order rows arrive, or whether they are replaced or deleted.
A shop without `ingested_at` has one such hour, and what changes in it touches all of the table.

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
{%- set rules = perennial.contract(table) -%}
{%- set hour = "date_trunc('hour', " ~ perennial.typed(rules.columns['ingested_at'], found) ~ ')' -%}
{%- set values = [] -%}
{%- for column in rules.columns if column in found %}{% do values.append('raw_table.' ~ column) %}{% endfor -%}
{%- set name = this.identifier -%}
{%- if not model.get('perennial_whole') -%}
    {#- Taken before the rows are read: what arrives in between is found to be new next time. -#}
    {%- do run_query('/* perennial: hours */ create or replace temp table hours_' ~ name ~ ' as select '
        ~ hour ~ ' as ingested_hour, cast(count(*) as hugeint) as n_rows, sum(cast(hash('
        ~ (values | join(', ') or '1') ~ ') as hugeint)) as row_hash from '
        ~ (relation if found else '(select 1 where false)') ~ ' as raw_table group by 1') -%}
    {%- do run_query("/* perennial: hours */ create or replace temp table changed_hours_" ~ name
        ~ " as select ingested_hour from (select ingested_hour, n_rows, row_hash from hours_" ~ name
        ~ " union all select ingested_hour, -n_rows, -row_hash from increments.hours where model_name = '"
        ~ model.name ~ "') as both_times group by 1 having sum(n_rows) <> 0 or sum(row_hash) <> 0") -%}
{%- endif -%}
    select {{ perennial.as_text({'name': key}, found) }} as {{ key }}
    from {{ relation if found else '(select 1 where false)' }} as raw_table
    where exists (
        select 1
        from changed_hours_{{ name }} as hours
        where hours.ingested_hour is not distinct from {{ hour }}
    )
    union
    select target.{{ key }}
    from {{ this }} as target
    where exists (
        select 1
        from changed_hours_{{ name }} as hours
        where hours.ingested_hour is not distinct from date_trunc('hour', target.ingested_at)
    )
{%- endif -%}
{% endmacro %}


{#- After a checked model: remember which raw rows it has taken in. -#}
{% macro remember_hours() %}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
    /* perennial: hours */
    delete from increments.hours where model_name = '{{ model.name }}';
    insert into increments.hours
    select '{{ model.name }}', ingested_hour, n_rows, row_hash from hours_{{ this.identifier }}
    {%- endif -%}
{% endmacro %}
