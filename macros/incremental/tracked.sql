{#-
A table whose changes are known: `tracked` keeps, for every run, which keys of a table changed,
so that the tables below need only do those again.

A tracked model says in its config, under meta:
  key        the columns whose values are done again whole, as a list
  followed   what the models below may ask for, as {name: expression over the model's columns};
             each is noted for every row that was removed or added
  compare    (optional) true for a small table that is always made in full: what changed is found
             by comparing it with the one before

and in its SQL, by `touched`, which keys those are. Without `touched` it is always made in full.

A table is made in full, and everything below it too, when there is none, under --full-refresh,
and when its SQL, a setting in it or a column of its raw table has changed, a table above it was
made in full, or as_of was set back. Either way the table, the note of its changes and the mark
up to which it has read the changes of others are written in one transaction: a build that is
killed leaves each table as it was before or as it should be, and the next one goes on from there.
-#}
{% materialization tracked, default %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% if perennial.increment_was_chosen() %}
        {% call statement('main') %}
            {{ perennial.replace_touched(target_relation, compiled_code) }}
        {% endcall %}
    {% else %}
        {% set intermediate = make_intermediate_relation(target_relation) %}
        {% call statement('main') %}
            {{ create_table_as(False, intermediate, compiled_code) }}
        {% endcall %}
        {% set can_compare = config.get('meta', {}).get('compare') and existing is not none
            and existing.is_table and perennial.column_list(existing) == perennial.column_list(intermediate) %}
        {% call statement('changes') %}
            {{ perennial.note_difference(existing, intermediate) if can_compare
                else perennial.note_rebuilt() }}
        {% endcall %}
        {% if existing is not none %}
            {% do adapter.drop_relation(existing) %}
        {% endif %}
        {% do adapter.rename_relation(intermediate, target_relation) %}
    {% endif %}
    {% call statement('mark') %}
        {{ perennial.mark_built() }}
    {% endcall %}
    {% do persist_docs(target_relation, model) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- Where no engine could replace rows, a tracked model is a table. -#}
{% materialization tracked, adapter='spark' %}
    {{ return(materialization_table_spark()) }}
{% endmaterialization %}


{#-
The keys that a tracked model must do again, as the query in its call block finds them; it is
asked only when there is a table to keep. `touched_only` then limits the model's inputs to them.

    {% call perennial.touched() %}
        {{ perennial.changes('checked_orders', 'order_id') }}
    {% endcall %}
-#}
{% macro touched() %}
    {#- While dbt parses, the query only says what the model depends on. -#}
    {%- set query = caller() if perennial.incremental_strategy() != 'none' or not execute -%}
    {%- if perennial.is_increment() -%}
        {%- set temporary = 'touched_' ~ this.identifier -%}
        {%- do run_query('/* perennial: touched */ create or replace temp table ' ~ temporary
            ~ ' as select distinct * from (' ~ query ~ ') as found') -%}
        {#- To do most keys of a large table one by one costs more than to do it anew. -#}
        {%- set counts = run_query('select (select count(*) from ' ~ temporary
            ~ '), (select count(*) from ' ~ this ~ ')').rows[0] -%}
        {%- if counts[0] > 100000 and counts[0] > 0.25 * counts[1] -%}
            {%- do run_query("update increment_" ~ this.identifier
                ~ " set rebuild_reason = 'much of it was touched'") -%}
            {%- do model.update({'perennial_is_increment': false}) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{#-
In an increment: limits a query to the touched keys. Otherwise nothing.

Arguments:
  columns   the query's own columns for the key, separated by commas
  word      how the condition begins: where, or and
  key       the columns of touched keys to compare with (by default called the same)
-#}
{% macro touched_only(columns, word='where', key=none) %}
    {%- if perennial.is_increment() %}
        {%- set names = [] -%}
        {%- for column in columns.split(',') -%}
            {%- do names.append(column.strip().split('.')[-1]) -%}
        {%- endfor -%}
        {{ word }} ({{ columns }}) in (select ({{ key or names | join(', ') }}) from touched_{{ this.identifier }})
    {%- endif %}
{% endmacro %}


{#-
A relation, to be read from; in an increment, a temporary table with its rows of the touched keys.
For large relations of which more is asked than one condition: to choose first costs least.

Arguments:
  relation   what to read
  alias      what `value` calls its rows
  value      expression over a row that gives the key; it may be null
  key        the column of touched keys to compare with
-#}
{% macro touched_rows(relation, alias, value, key) %}
    {%- if not perennial.is_increment() -%}
        {%- do return(relation) -%}
    {%- endif -%}
    {%- set name = 'rows_' ~ this.identifier -%}
    {%- do run_query('/* perennial: rows */ create or replace temp table ' ~ name ~ ' as select '
        ~ alias ~ '.* from ' ~ relation ~ ' as ' ~ alias ~ ' semi join touched_' ~ this.identifier
        ~ ' as keys on keys.' ~ key ~ ' is not distinct from ' ~ value) -%}
    {%- do return(name) -%}
{% endmacro %}


{#-
The values that have changed in a tracked table since this model was last built, as a query
of one column.

Arguments:
  name      the tracked model
  followed  what is followed in it, as its config names it
  column    what to call the column (by default as `followed`)
-#}
{% macro changes(name, followed, column=none) -%}
    select changes.value as {{ column or followed }}
    from increments.changes
    where {{ perennial.not_seen(name, followed) }}
{%- endmacro %}


{#-
The same with `n`, how many more rows have a value than had it then: `value` and `n`.

Arguments:
  name      the tracked model
  followed  what is followed in it
-#}
{% macro net_changes(name, followed) -%}
    select
        changes.value,
        sum(changes.n) as n
    from increments.changes
    where {{ perennial.not_seen(name, followed) }}
    group by all
{%- endmacro %}


{#- Which of the changes of a tracked model this one has not seen yet. -#}
{% macro not_seen(name, followed) -%}
    changes.model_name = '{{ name }}'
    and changes.followed = '{{ followed }}'
    and changes.run_number > (
        select marks.run_number from increments.marks where marks.model_name = '{{ model.name }}'
    )
{%- endmacro %}


{#-
Whether this model, in this run, need only do its touched keys. The decision is taken once, when
the model is compiled, and kept in a temporary table for its materialization.
-#}
{% macro is_increment() %}
    {% if perennial.incremental_strategy() == 'none' %}
        {% do return(false) %}
    {% endif %}
    {% if not execute or flags.WHICH not in ['build', 'run'] or model.resource_type != 'model'
        or model.config.materialized != 'tracked' or model.get('perennial_whole') %}
        {% do return(false) %}
    {% endif %}
    {% if 'perennial_is_increment' not in model %}
        {% set reason = 'there is no table' %}
        {% set existing = adapter.get_relation(this.database, this.schema, this.identifier) %}
        {% if flags.FULL_REFRESH %}
            {% set reason = 'full refresh' %}
        {% elif existing is not none and existing.is_table %}
            {% set reason = none %}
        {% endif %}
        {% do model.update({'perennial_whole': true}) %}
        {#- Without the database's name, which is the file's: a copy of it is no other warehouse. -#}
        {% set fingerprint = local_md5(render(model.raw_code)
            | replace('"' ~ this.database ~ '".', '')) %}
        {% do model.update({'perennial_whole': false}) %}
        {% do run_query(perennial.decision(reason, fingerprint)) %}
        {% set reason = run_query('select rebuild_reason from increment_' ~ this.identifier).rows[0][0] %}
        {% if reason is not none and existing is not none and not flags.FULL_REFRESH %}
            {% do log(model.name ~ ' is made in full: ' ~ reason, info=true) %}
        {% endif %}
        {% do model.update({'perennial_is_increment': reason is none}) %}
    {% endif %}
    {% do return(model.perennial_is_increment) %}
{% endmacro %}


{#-
The statement that takes the decision.

Arguments:
  reason        why the table must be made in full whatever the marks say, or none
  fingerprint   of the SQL that makes the whole table
-#}
{% macro decision(reason, fingerprint) -%}
    {%- set above = perennial.tracked_above(model) -%}
    /* perennial: decision */
    create or replace temp table increment_{{ this.identifier }} as
    select
        '{{ fingerprint }}' as fingerprint,
        case
            {%- if reason %}
            when true then '{{ reason }}'
            {%- endif %}
            when marks.model_name is null then 'it was never finished'
            when marks.fingerprint <> '{{ fingerprint }}' then 'its SQL, a setting or a raw column changed'
            {%- if above %}
            when exists (
                select 1
                from increments.changes
                where
                    changes.model_name in ('{{ above | join("', '") }}')
                    and changes.followed is null
                    and changes.run_number > marks.run_number
            ) then 'a table above it was made in full'
            {%- endif %}
            {%- if perennial.reads_clock() %}
            when (select max(as_of) from {{ perennial.clock_relation() }}) < marks.as_of
                then 'as_of was set back'
            when (select max(as_of) from {{ perennial.clock_relation() }}) is null
                then 'the shop is empty'
            {%- endif %}
        end as rebuild_reason
    from (select 1) as one
    left join increments.marks
        on marks.model_name = '{{ model.name }}'
{%- endmacro %}


{#- For the materialization: what was decided when the model was compiled. -#}
{% macro increment_was_chosen() %}
    {% if not perennial.declares_touched() %}
        {% do return(false) %}
    {% endif %}
    {% do return(run_query('select rebuild_reason is null from increment_' ~ this.identifier).rows[0][0]) %}
{% endmacro %}


{#- Whether the model says which keys are touched; without, it is always made in full. -#}
{% macro declares_touched() %}
    {% do return('perennial.touched(' in model.raw_code) %}
{% endmacro %}


{#- Whether what the model holds depends on as_of. -#}
{% macro reads_clock() %}
    {% do return('model.perennial.clock' in model.depends_on.nodes) %}
{% endmacro %}


{% macro clock_relation() %}
    {% do return(ref('perennial', 'clock')) %}
{% endmacro %}


{#-
The names of the tracked models that a model reads, directly or by way of views.

Arguments:
  node   the model's node
-#}
{% macro tracked_above(node) %}
    {% set found = [] %}
    {% for parent_id in node.depends_on.nodes %}
        {% set parent = graph.nodes.get(parent_id) %}
        {% if parent and parent.config.materialized == 'tracked' %}
            {% do found.append(parent.name) %}
        {% elif parent and parent.config.materialized == 'view' %}
            {% do found.extend(perennial.tracked_above(parent)) %}
        {% endif %}
    {% endfor %}
    {% do return(found | unique | sort) %}
{% endmacro %}


{#-
What had not happened by as_of when this model was last built, and has now.

Arguments:
  moment   when the row happened
-#}
{% macro newly_happened(moment) -%}
    {{ moment }} > (
        select marks.as_of from increments.marks where marks.model_name = '{{ model.name }}'
    )
    and {{ moment }} <= (select as_of from {{ ref('perennial', 'clock') }})
{%- endmacro %}
