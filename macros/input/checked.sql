{#-
Every raw row of a table of the contract, typed, with the one reason for which it is refused
(null for a good row): the subquery behind stg_<table> and `quarantine`.

A row is judged in this order, and the first rule that it breaks is named:
  missing key        a required column, or each of those of which one is needed, is null
  bad type           a value is there but is not of the column's type
  impossible value   outside what the contract accepts, or a moment that cannot have been
  duplicate          another row of the same key was ingested later, or is further on, or is equal
  unknown parent     the row that it belongs to is not in stg_<parent>

Arguments:
  table          name of the table in the raw contract
  with_raw_row   also return `raw_row`, the row as it came, as JSON
-#}
{% macro checked(table, with_raw_row=false) %}
{%- set relation = perennial.raw(table) -%}
{%- if not execute -%}
    {#- Only the dependencies matter while dbt parses. -#}
    {%- for parent in perennial.parents_of(table) -%}
        {%- do ref('perennial', 'stg_' ~ parent) -%}
    {%- endfor -%}
    select 1 as parsing
{%- else -%}
{%- set rules = perennial.contract(table) -%}
{%- set found = perennial.raw_columns(table, relation) -%}
{%- set columns = rules.columns.values() -%}
{%- set key = [] -%}
{%- set versions = [] -%}
{%- for column in columns -%}
    {%- if column.config.meta.key %}{% do key.append(column.name) %}
    {%- elif column.config.meta.accepted %}
        {#- Accepted values stand in the order of progress: cancelled comes after placed. -#}
        {%- do versions.append("list_position(['" ~ column.config.meta.accepted | join("', '")
            ~ "'], " ~ column.name ~ ') desc nulls last') -%}
    {%- elif column.name != 'ingested_at' %}{% do versions.append(column.name ~ ' desc nulls last') %}
    {%- endif -%}
{%- endfor -%}
{%- if 'ingested_at' in rules.columns %}
    {%- do versions.insert(0, 'ingested_at desc nulls last') -%}
{%- endif %}
    select
        rows_read.* exclude (refusal, version_number),
        case
            when rows_read.refusal is not null then rows_read.refusal
            when rows_read.version_number > 1
                then 'duplicate: of {{ key | join(', ') }} '
                    || concat_ws(', ', {% for name in key %}rows_read.{{ name }}{{ ', ' if not loop.last }}{% endfor %})
            {%- for column in columns if column.config.meta.parent %}
            when rows_read.{{ column.name }} is not null and parent_{{ loop.index }}.parent_id is null
                then 'unknown parent: no {{ column.config.meta.parent }} is '
                    || rows_read.{{ column.name }}
            {%- endfor %}
        end as refusal
    from (
        select
            typed.*,
            -- A refused row must not push a good one of the same key aside.
            row_number() over (
                partition by refusal is null, {{ key | join(', ') }}
                order by {{ versions | join(', ') }}
            ) as version_number
            {%- if 'ingested_at' in rules.columns %},
            -- A correction changes what is known of a row, not since when it is known.
            min(ingested_at) over (
                partition by refusal is null, {{ key | join(', ') }}
            ) as first_ingested_at
            {%- endif %}
        from (
            select
                {%- for column in columns %}
                {{ perennial.typed(column, found) }} as {{ column.name }},
                {%- endfor %}
                {%- if with_raw_row %}
                {{ 'to_json(raw_table)' if found else 'null' }} as raw_row,
                {%- endif %}
                {{ perennial.refusal_of(columns, found) | indent(16) }} as refusal
            from {{ relation if found else '(select 1 where false)' }} as raw_table
        ) as typed
    ) as rows_read
    {%- for column in columns if column.config.meta.parent %}
    {%- set parent = column.config.meta.parent.split('.') %}
    left join (
        select {{ parent[1] }} as parent_id from {{ ref('perennial', 'stg_' ~ parent[0]) }}
    ) as parent_{{ loop.index }}
        on rows_read.{{ column.name }} = parent_{{ loop.index }}.parent_id
    {%- endfor %}
{%- endif -%}
{% endmacro %}


{#-
The tables that a table's rows must find their parents in. dbt needs them while it parses,
when the contract cannot be read yet; a test holds this list against the contract.
-#}
{% macro parents_of(table) %}
    {% do return({
        'order_items': ['orders'],
        'refunds': ['orders'],
        'coupon_grants': ['coupons'],
        'campaign_touches': ['campaigns'],
        'experiment_assignments': ['experiments'],
    }.get(table, [])) %}
{% endmacro %}


{#- A raw column as text, with blanks and empty texts as null. -#}
{% macro as_text(column, found) %}
    {%- if column.name not in found -%}
        cast(null as varchar)
    {%- elif found[column.name] == 'VARCHAR' -%}
        nullif(trim(raw_table.{{ column.name }}), '')
    {%- else -%}
        nullif(trim(cast(raw_table.{{ column.name }} as varchar)), '')
    {%- endif -%}
{% endmacro %}


{#- A raw column in the type that the contract gives it; null where it cannot be. -#}
{% macro typed(column, found) %}
    {%- set type = column.data_type -%}
    {%- set text = perennial.as_text(column, found) -%}
    {%- set native = found.get(column.name, 'VARCHAR') -%}
    {%- if column.name not in found -%}
        cast(null as {{ 'varchar' if type == 'json' else type }})
    {%- elif type == 'varchar' -%}
        {%- if column.config.meta.accepted -%}lower({{ text }})
        {%- elif column.config.meta.upper -%}upper({{ text }})
        {%- else -%}{{ text }}
        {%- endif -%}
    {%- elif type == 'timestamp' and native.startswith('TIMESTAMP') and 'ZONE' not in native -%}
        cast(raw_table.{{ column.name }} as timestamp)
    {%- elif type == 'timestamp' -%}
        {#- By way of timestamptz: a plain cast would drop an offset such as +02:00. -#}
        try_cast({{ text }} as timestamptz) at time zone 'UTC'
    {%- elif type in ['integer', 'bigint'] -%}
        {#- A plain cast would round 2.7 to 3. -#}
        case when try_cast({{ text }} as decimal(38, 6)) % 1 = 0 then try_cast({{ text }} as {{ type }}) end
    {%- elif type == 'double' -%}
        case when isfinite(try_cast({{ text }} as double)) then try_cast({{ text }} as double) end
    {%- elif type == 'json' and native in ['VARCHAR', 'JSON'] -%}
        case when json_valid({{ text }}) then {{ text }} end
    {%- elif type == 'json' -%}
        cast(to_json(raw_table.{{ column.name }}) as varchar)
    {%- else -%}
        try_cast({{ text }} as {{ type }})
    {%- endif -%}
{% endmacro %}


{#- The first row-by-row rule that a raw row breaks, as '<reason>: <what>', or null. -#}
{% macro refusal_of(columns, found) %}
case
    {%- for column in columns if column.config.meta.required %}
    when {{ perennial.as_text(column, found) }} is null
        then 'missing key: {{ column.name }} is null'
    {%- endfor %}
    {%- for column in columns if column.config.meta.or_else %}
    when {{ perennial.as_text(column, found) }} is null
        {%- for other in column.config.meta.or_else %}
        and {{ perennial.as_text({'name': other}, found) }} is null
        {%- endfor %}
        then 'missing key: {{ column.name }} and {{ column.config.meta.or_else | join(' and ') }} are null'
    {%- endfor %}
    {%- for column in columns if column.name in found and column.data_type != 'varchar' %}
    when {{ perennial.as_text(column, found) }} is not null and {{ perennial.typed(column, found) }} is null
        then 'bad type: {{ column.name }} is no {{ column.data_type }}: ' || {{ perennial.as_text(column, found) }}
    {%- endfor %}
    {%- for column in columns if column.name in found %}
    {%- set value = perennial.typed(column, found) %}
    {%- set then = "then 'impossible value: " ~ column.name ~ " is ' || " ~ perennial.as_text(column, found) %}
    {%- if column.config.meta.accepted %}
    when {{ value }} not in ('{{ column.config.meta.accepted | join("', '") }}')
        {{ then }}
    {%- endif %}
    {%- for rule, sign in [('min', '<'), ('max', '>'), ('above', '<=')] if rule in column.config.meta %}
    when {{ value }} {{ sign }} {{ column.config.meta[rule] }}
        {{ then }}
    {%- endfor %}
    {%- if column.config.meta.happened %}
    when {{ value }} < timestamp '1990-01-01' or {{ value }} >= timestamp '2100-01-01'
        {{ then }}
    {%- if 'ingested_at' in found %}
    when {{ value }} > {{ perennial.typed({'name': 'ingested_at', 'data_type': 'timestamp'}, found) }} + interval 1 day
        {{ then }} || ', after it was ingested'
    {%- endif %}
    {%- endif %}
    {%- endfor %}
end
{%- endmacro %}
