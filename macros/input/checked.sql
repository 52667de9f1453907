{#-
Every raw row of a table of the contract, typed, with the one reason for which it is refused
(null for a good row) and, where there is one, the raw row itself as JSON: the query behind
checked_<table>, which stg_<table> and `quarantine` share out between them.

A row is judged in this order, and the first rule that it breaks is named:
  missing key        a required column, or each of those of which one is needed, is null
  bad type           a value is there but is not of the column's type
  impossible value   outside what the contract accepts, or a moment that cannot have been
  duplicate          another row of the same key was ingested later, or is further on, or is equal
  unknown parent     the row that it belongs to is not in stg_<parent>

Arguments:
  table       name of the table in the raw contract
  touched_by  the column by which rows are done again in an increment; the raw rows of all other
              values of it are then left out
-#}
{% macro checked(table, touched_by=none) %}
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
{%- set relation = perennial.without_forgotten(table, relation, found) -%}
{%- set columns = rules.columns.values() -%}
{%- set has_ingested_at = 'ingested_at' in rules.columns -%}
{%- set key = [] -%}
{%- set versions = [] -%}
{%- for column in columns -%}
    {%- if column.config.meta.key %}{% do key.append(column.name) %}
    {%- elif column.config.meta.accepted %}
        {#- Accepted values stand in the order of progress: cancelled comes after placed. -#}
        {%- set places -%}
            case {{ column.name }}
            {%- for value in column.config.meta.accepted %} when '{{ value }}' then {{ loop.index }}{% endfor %} end
        {%- endset -%}
        {%- do versions.append(places ~ ' desc nulls last') -%}
    {%- elif column.name != 'ingested_at' %}{% do versions.append(column.name ~ ' desc nulls last') %}
    {%- endif -%}
{%- endfor -%}
{%- if has_ingested_at %}
    {%- do versions.insert(0, 'ingested_at desc nulls last') -%}
{%- endif -%}
{%- set raw_key = [] -%}
{%- for name in key %}{% do raw_key.append(perennial.typed(rules.columns[name], found)) %}{% endfor -%}
{%- set raw_rows -%}
    {%- if not found -%} (select 1 where false)
    {%- elif touched_by -%}
        {#- Chosen once: the raw table is large, and read three times below. -#}
        {{- perennial.touched_rows(
            relation, 'raw_table', perennial.as_text({'name': touched_by}, found), touched_by
        ) -}}
    {%- else -%} {{ relation }}
    {%- endif -%}
{%- endset -%}
{#- A subquery, not a CTE: it is read twice, and must not be written down in between. -#}
{%- set typed_rows %}
        (
            select
                {%- for column in columns %}
                {{ perennial.typed(column, found) }} as {{ column.name }},
                {%- endfor %}
                {{ perennial.refusal_of(columns, found) | indent(16) }} as refusal_of_row,
                {{ perennial.key_hash(raw_key) }} as key_hash,
                {{ perennial.whole_row('raw_table') }} as raw_table
            from {{ raw_rows }} as raw_table
        ) as typed
{%- endset -%}
with repeated_keys as (
    select {{ perennial.key_hash(raw_key) }} as key_hash
    from {{ raw_rows }} as raw_table
    group by all
    having count(*) > 1
),

-- To sort all rows for the sake of a few that come twice would cost several times more.
versions as (
    select
        typed.*,
        1 as version_number
        {%- if has_ingested_at %},
        typed.ingested_at as first_ingested_at
        {%- endif %}
    from {{ typed_rows }}
    where typed.key_hash not in (select repeated_keys.key_hash from repeated_keys)

    union all

    select
        typed.*,
        -- A refused row must not push a good one of the same key aside.
        row_number() over (
            partition by refusal_of_row is null, {{ key | join(', ') }}
            order by {{ versions | join(', ') }}
        ) as version_number
        {%- if has_ingested_at %},
        -- A correction changes what is known of a row, not since when it is known.
        min(ingested_at) over (
            partition by refusal_of_row is null, {{ key | join(', ') }}
        ) as first_ingested_at
        {%- endif %}
    from {{ typed_rows }}
    where typed.key_hash in (select repeated_keys.key_hash from repeated_keys)
),

judged as (
    select
        versions.*,
        case
            when versions.refusal_of_row is not null then versions.refusal_of_row
            when versions.version_number > 1
                then 'duplicate: of {{ key | join(', ') }} '
                    || concat_ws(', ', {% for name in key %}versions.{{ name }}{{ ', ' if not loop.last }}{% endfor %})
            {%- for column in columns if column.config.meta.parent %}
            when versions.{{ column.name }} is not null and parent_{{ loop.index }}.parent_id is null
                then 'unknown parent: no {{ column.config.meta.parent }} is '
                    || versions.{{ column.name }}
            {%- endfor %}
        end as refusal
    from versions
    {%- for column in columns if column.config.meta.parent %}
    {%- set parent = column.config.meta.parent.split('.') %}
    left join (
        select {{ parent[1] }} as parent_id from {{ ref('perennial', 'stg_' ~ parent[0]) }}
    ) as parent_{{ loop.index }}
        on versions.{{ column.name }} = parent_{{ loop.index }}.parent_id
    {%- endfor %}
)

select
    {%- for column in columns %}
    {{ column.name }},
    {%- endfor %}
    {%- if has_ingested_at %}
    first_ingested_at,
    {%- endif %}
    refusal,
    {%- if found %}
    case when refusal is not null then {{ perennial.as_json('raw_table') }} end as raw_row
    {%- else %}
    cast(null as string) as raw_row
    {%- endif %}
from judged
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
        cast(null as string)
    {%- elif found[column.name] in ['VARCHAR', 'STRING'] -%}
        nullif(trim(raw_table.{{ column.name }}), '')
    {%- else -%}
        nullif(trim(cast(raw_table.{{ column.name }} as string)), '')
    {%- endif -%}
{% endmacro %}


{#- Whether a raw column has no value, as a condition: no text but blanks, where it is a text. -#}
{% macro is_missing(column, found) %}
    {%- if found.get(column.name, 'VARCHAR') in ['VARCHAR', 'STRING'] -%}
        {{ perennial.as_text(column, found) }} is null
    {%- else -%}
        raw_table.{{ column.name }} is null
    {%- endif -%}
{% endmacro %}


{#- Whether a raw column is of the contract's type already, so that nothing can go wrong with it. -#}
{% macro is_typed(column, found) %}
    {%- set native = found.get(column.name, 'VARCHAR') | lower -%}
    {%- do return(native == column.data_type and native in ['timestamp', 'date', 'boolean', 'bigint', 'integer']
        or native == column.data_type and native.startswith('decimal')) -%}
{% endmacro %}


{#- A raw column in the type that the contract gives it; null where it cannot be. -#}
{% macro typed(column, found) %}
    {%- set type = column.data_type -%}
    {%- set text = perennial.as_text(column, found) -%}
    {%- set native = found.get(column.name, 'VARCHAR') -%}
    {%- if column.name not in found -%}
        cast(null as {{ 'string' if type in ['json', 'varchar'] else type }})
    {%- elif perennial.is_typed(column, found) -%}
        raw_table.{{ column.name }}
    {%- elif type == 'varchar' -%}
        {%- if column.config.meta.accepted -%}lower({{ text }})
        {%- elif column.config.meta.upper -%}upper({{ text }})
        {%- else -%}{{ text }}
        {%- endif -%}
    {%- elif type == 'timestamp' and native.startswith('TIMESTAMP') and 'ZONE' not in native -%}
        cast(raw_table.{{ column.name }} as timestamp)
    {%- elif type == 'timestamp' -%}
        {{ perennial.text_as_timestamp(text) }}
    {%- elif type in ['integer', 'bigint'] -%}
        {#- A plain cast would round 2.7 to 3. -#}
        case when try_cast({{ text }} as decimal(38, 6)) % 1 = 0 then try_cast({{ text }} as {{ type }}) end
    {%- elif type == 'double' -%}
        {{ perennial.text_as_double(text) }}
    {%- elif type == 'json' and native in ['VARCHAR', 'STRING', 'JSON'] -%}
        case when {{ perennial.is_json(text) }} then {{ text }} end
    {%- elif type == 'json' -%}
        {{ perennial.as_json('raw_table.' ~ column.name) }}
    {%- else -%}
        try_cast({{ text }} as {{ type }})
    {%- endif -%}
{% endmacro %}


{#- The first row-by-row rule that a raw row breaks, as '<reason>: <what>', or null. -#}
{% macro refusal_of(columns, found) %}
case
    {%- for column in columns if column.config.meta.required %}
    when {{ perennial.is_missing(column, found) }}
        then 'missing key: {{ column.name }} is null'
    {%- endfor %}
    {%- for column in columns if column.config.meta.or_else %}
    when {{ perennial.is_missing(column, found) }}
        {%- for other in column.config.meta.or_else %}
        and {{ perennial.is_missing({'name': other}, found) }}
        {%- endfor %}
        then 'missing key: {{ column.name }} and {{ column.config.meta.or_else | join(' and ') }} are null'
    {%- endfor %}
    {%- for column in columns if column.name in found and column.data_type != 'varchar'
        and not perennial.is_typed(column, found) %}
    when {{ perennial.typed(column, found) }} is null and not ({{ perennial.is_missing(column, found) }})
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
    when {{ value }} > {{ perennial.typed({'name': 'ingested_at', 'data_type': 'timestamp'}, found) }} + interval '1' day
        {{ then }} || ', after it was ingested'
    {%- endif %}
    {%- endif %}
    {%- endfor %}
end
{%- endmacro %}
