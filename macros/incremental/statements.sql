{#- The statements of the materialization `tracked`. They hold no value of the run: what differs
    from run to run is looked up in the schema `increments`. -#}

{#-
Replace the rows of the touched keys, where they changed, and note the changes.

Arguments:
  target   the table
  sql      the query that gives the rows of the touched keys as they should be
-#}
{% macro replace_touched(target, sql) -%}
    {%- set name = this.identifier -%}
    {%- set key = config.get('meta').key -%}
    {%- set columns = perennial.column_list(target) -%}
    /* perennial: increment */
    create or replace temp table new_{{ name }} as ({{ sql }});
    -- First where the rows are, by the key alone: to read every column of every row costs most.
    create or replace temp table places_{{ name }} as
    select target.rowid as place
    from {{ target }} as target
    where {{ perennial.key_in('target', 'touched_' ~ name, key) }};
    create or replace temp table old_{{ name }} as
    select
        target.rowid as place,
        {{ columns }}
    from {{ target }} as target
    where target.rowid in (select places.place from places_{{ name }} as places);
    create or replace temp table changed_{{ name }} as
    {{ perennial.difference('old_' ~ name, 'new_' ~ name, columns) }};
    delete from {{ target }} as target
    where target.rowid in (
        select old.place
        from old_{{ name }} as old
        where {{ perennial.key_in('old', 'changed_' ~ name, key) }}
    );
    insert into {{ target }} ({{ columns }})
    select {{ columns }}
    from new_{{ name }} as fresh
    where {{ perennial.key_in('fresh', 'changed_' ~ name, key) }};
    {{ perennial.note_changed_rows('changed_' ~ name) }}
{%- endmacro %}


{#- Note how a table that was made anew differs from the one before. -#}
{% macro note_difference(old, new) -%}
    /* perennial: difference */
    create or replace temp table changed_{{ this.identifier }} as
    {{ perennial.difference(old, new, perennial.column_list(new)) }};
    {{ perennial.note_changed_rows('changed_' ~ this.identifier) }}
{%- endmacro %}


{#- Note that everything may have changed: whoever reads this table makes its own in full. -#}
{% macro note_rebuilt() -%}
    /* perennial: rebuilt */
    insert into increments.changes
    select '{{ model.name }}', (select max(run_number) from increments.runs), null, null, null
{%- endmacro %}


{#- The rows that only one of two relations has, as often as it has them more than the other. -#}
{% macro difference(old, new, columns) -%}
    select
        *,
        -1 as difference
    from (select {{ columns }} from {{ old }} except all select {{ columns }} from {{ new }})
    union all
    select
        *,
        1 as difference
    from (select {{ columns }} from {{ new }} except all select {{ columns }} from {{ old }})
{%- endmacro %}


{#-
Note what the rows that were removed or added hold in the followed columns.

Arguments:
  changed   the relation with those rows
-#}
{% macro note_changed_rows(changed) -%}
    {%- for followed, expression in config.get('meta').get('followed', {}).items() %}
    insert into increments.changes
    select
        '{{ model.name }}',
        (select max(run_number) from increments.runs),
        '{{ followed }}',
        cast({{ expression }} as string),
        sum(difference)
    from {{ changed }}
    where {{ expression }} is not null
    group by all;
    {%- endfor %}
{%- endmacro %}


{#- Note that this model has now seen all changes above it, and with which as_of. -#}
{% macro mark_built() -%}
    /* perennial: mark */
    delete from increments.marks where model_name = '{{ model.name }}';
    insert into increments.marks
    select
        '{{ model.name }}',
        (select max(run_number) from increments.runs),
        {% if perennial.declares_touched() %}(select fingerprint from increment_{{ this.identifier }}){% else %}null{% endif %},
        {% if perennial.reads_clock() %}(select max(as_of) from {{ perennial.clock_relation() }}){% else %}null{% endif %}
{%- endmacro %}


{#- Whether a row's key is among a relation's; nulls are equal to each other. -#}
{% macro key_in(alias, relation, key) -%}
    exists (
        select 1
        from {{ relation }} as keys
        where
            {%- for column in key %}
            {{ 'and ' if not loop.first }}keys.{{ column }} is not distinct from {{ alias }}.{{ column }}
            {%- endfor %}
    )
{%- endmacro %}


{#- The names of a relation's columns, separated by commas. -#}
{% macro column_list(relation) %}
    {% do return(adapter.get_columns_in_relation(relation) | map(attribute='quoted') | join(', ')) %}
{% endmacro %}


{#-
Before a run: the schema `increments`, this run's number, and nothing that nobody will read again.

  runs      one row: the number of the run
  changes   one row per run, tracked model, followed column and changed value, with how many
            more rows have the value; with a null `followed`: the model was made in full
  marks     one row per tracked model: the run that last built it, from which SQL and with
            which as_of
  hours     one row per checked model and hour of ingestion: how many raw rows it has taken in,
            and the sum of their hashes
-#}
{% macro start_increments() %}
    {% set tracked = [] %}
    {% for node in graph.nodes.values() if node.config.materialized == 'tracked' %}
        {% do tracked.append(node.name) %}
    {% endfor %}
    {% do run_query('create schema if not exists increments') %}
    {% do run_query('create table if not exists increments.runs (run_number bigint)') %}
    {% do run_query('create table if not exists increments.changes'
        ~ ' (model_name varchar, run_number bigint, followed varchar, value varchar, n bigint)') %}
    {% do run_query('create table if not exists increments.marks'
        ~ ' (model_name varchar, run_number bigint, fingerprint varchar, as_of timestamp)') %}
    {% do run_query('create table if not exists increments.loads'
        ~ ' (model_name varchar, load_hour timestamp, n_rows hugeint, row_hash hugeint)') %}
    {% do run_query("delete from increments.marks where model_name not in ('"
        ~ tracked | join("', '") ~ "')") %}
    {% do run_query('delete from increments.changes where run_number <='
        ~ ' (select min(run_number) from increments.marks)') %}
    {% do run_query('create or replace table increments.runs as'
        ~ ' select coalesce(max(run_number), 0) + 1 as run_number from increments.runs') %}
    {% do perennial.empty_trained_models() %}
{% endmacro %}


{#- Under --full-refresh churn models are trained again, too, although their rows are the same. -#}
{% macro empty_trained_models() %}
    {% set node = graph.nodes.get('model.perennial.py_churn_models') %}
    {% if flags.FULL_REFRESH and node and node.unique_id in selected_resources %}
        {% set relation = adapter.get_relation(node.database, node.schema, node.alias) %}
        {% if relation is not none %}
            {% do run_query('delete from ' ~ relation) %}
        {% endif %}
    {% endif %}
{% endmacro %}
