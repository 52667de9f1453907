{#- The run log: what each run of dbt did to this warehouse. It is no model, because it is written
    after the models, and no mart, because a mart is the same whenever it is built. -#}

{#- The tables of the run log and their columns; a run log of older columns is begun anew. -#}
{% macro run_log_tables() %}
    {% do return({
        'runs': 'invocation_id varchar, command varchar, started_at timestamp, ended_at timestamp,'
            ~ ' status varchar',
        'run_results': 'invocation_id varchar, node varchar, kind varchar, status varchar,'
            ~ ' started_at timestamp, ended_at timestamp, seconds double, made varchar,'
            ~ ' n_rows bigint, n_changed_keys bigint, n_failures bigint, message varchar',
    }) %}
{% endmacro %}


{#-
Before a run: the run log where there is none, this run in it, and no more runs than are worth
keeping. A run that is killed never gets its end.
-#}
{% macro start_run_log() %}
    {% if not execute or flags.WHICH not in perennial.logged_commands() %}
        {% do return('') %}
    {% endif %}
    {% do run_query('create schema if not exists monitoring') %}
    {% for table, columns in perennial.run_log_tables().items() %}
        {% do run_query('create table if not exists monitoring.' ~ table ~ ' (' ~ columns ~ ')') %}
    {% endfor %}
    {% do run_query("insert into monitoring.runs select '" ~ invocation_id ~ "', '" ~ flags.WHICH
        ~ "', " ~ perennial.moment_literal(run_started_at) ~ ", null, 'unfinished'") %}
    {% do run_query('delete from monitoring.runs where invocation_id not in (select invocation_id'
        ~ ' from monitoring.runs order by started_at desc, invocation_id limit 400)') %}
    {% do run_query('delete from monitoring.run_results where invocation_id not in'
        ~ ' (select invocation_id from monitoring.runs)') %}
    {% do return('') %}
{% endmacro %}


{#-
After a run: what became of each node, and of the run.

Arguments:
  results  what dbt ran, as on-run-end gives it
-#}
{% macro end_run_log(results) %}
    {% if not execute or flags.WHICH not in perennial.logged_commands() %}
        {% do return('') %}
    {% endif %}
    {% set rows = [] %}
    {% set bad = [] %}
    {% for result in results %}
        {% do rows.append(perennial.run_log_row(result)) %}
        {% if result.status in ['error', 'fail', 'runtime error', 'partial success'] %}
            {% do bad.append(result.node.name) %}
        {% endif %}
    {% endfor %}
    {% for part in rows | batch(100) %}
        {% do run_query('/* perennial: run log */ insert into monitoring.run_results '
            ~ part | join(' union all ')) %}
    {% endfor %}
    {% do run_query("update monitoring.runs set ended_at = "
        ~ perennial.moment_literal(modules.datetime.datetime.now(modules.pytz.utc)) ~ ", status = '"
        ~ ('failed' if bad else 'passed') ~ "' where invocation_id = '" ~ invocation_id ~ "'") %}
    {% do return('') %}
{% endmacro %}


{#- The commands of dbt that change or judge a warehouse; none where rows of a table cannot be
    changed, as in parquet files on Spark. -#}
{% macro logged_commands() %}
    {% do return(['build', 'run', 'seed', 'test', 'snapshot'] if target.type == 'duckdb' else []) %}
{% endmacro %}


{#-
One row of run_results, as a query.

Arguments:
  result  what became of one node
-#}
{% macro run_log_row(result) %}
    {%- set node = result.node -%}
    {%- set materialized = node.config.materialized -%}
    {%- set is_table = result.status == 'success' and materialized in ['table', 'tracked', 'seed'] -%}
    {%- set execution = result.timing | selectattr('name', 'equalto', 'execute') | list -%}
    {%- set compilation = result.timing | selectattr('name', 'equalto', 'compile') | list -%}
    {%- set is_good = result.status in ['success', 'pass', 'skipped'] -%}
    select
        '{{ invocation_id }}',
        '{{ node.name }}',
        '{{ node.resource_type }}',
        '{{ result.status }}',
        {{ perennial.moment_literal((compilation or execution)[0].started_at if result.timing) }},
        {{ perennial.moment_literal((execution or compilation)[-1].completed_at if result.timing) }},
        {{ result.execution_time }},
        {% if materialized == 'view' %}'view'{% elif not is_table %}null{% else %}
        {{ perennial.how_it_was_made(node) }}{% endif %},
        {% if is_table %}(select count(*) from {{ node.relation_name }}){% else %}null{% endif %},
        {% if is_table and materialized == 'tracked' %}
        {{ perennial.changed_keys_of_run(node.name) }}{% else %}null{% endif %},
        {{ 'null' if result.failures is none else result.failures }},
        {% if is_good %}null{% else %}'{{ (result.message or '')[:500] | replace("'", "''") }}'{% endif %}
{% endmacro %}


{#- Whether a table was made in full or by increment, as a text in SQL. -#}
{% macro how_it_was_made(node) -%}
    {%- if node.config.materialized == 'tracked' and 'perennial.touched(' in node.raw_code -%}
        case when exists (
            select 1
            from increments.changes
            where
                model_name = '{{ node.name }}'
                and followed is null
                and run_number = (select max(run_number) from increments.runs)
        ) then 'in full' else 'increment' end
    {%- else -%}
        'in full'
    {%- endif -%}
{%- endmacro %}


{#- How many values of what is followed in a tracked table changed in this run, as SQL: of the
    column in which most did; null where it was made in full. -#}
{% macro changed_keys_of_run(name) -%}
    (
        select case
            when count(*) filter (where followed is null) = 0 then coalesce(max(n_changed), 0)
        end
        from (
            select
                followed,
                count(distinct value) as n_changed
            from increments.changes
            where
                model_name = '{{ name }}'
                and run_number = (select max(run_number) from increments.runs)
            group by all
        ) as followed_columns
    )
{%- endmacro %}


{#- A moment of Python as a timestamp of SQL, UTC. -#}
{% macro moment_literal(moment) -%}
    {%- if moment -%}
        timestamp '{{ moment.strftime('%Y-%m-%d %H:%M:%S.%f') }}'
    {%- else -%}
        cast(null as timestamp)
    {%- endif -%}
{%- endmacro %}
