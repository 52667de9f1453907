{#- What engines say differently, each difference in one place. DuckDB is the default. -#}

{#- The wall-clock moment in the shop's time zone of a UTC timestamp. -#}
{% macro local_timestamp(moment) %}
    {{- return(adapter.dispatch('local_timestamp', 'perennial')(moment)) -}}
{% endmacro %}

{% macro default__local_timestamp(moment) -%}
    (({{ moment }}) at time zone 'UTC') at time zone '{{ perennial.setting("timezone") }}'
{%- endmacro %}

{% macro spark__local_timestamp(moment) -%}
    from_utc_timestamp({{ moment }}, '{{ perennial.setting("timezone") }}')
{%- endmacro %}

{#- The UTC moment at which a date begins in the shop's time zone. -#}
{% macro start_of_day_utc(day) %}
    {{- return(adapter.dispatch('start_of_day_utc', 'perennial')(day)) -}}
{% endmacro %}

{% macro default__start_of_day_utc(day) -%}
    (cast({{ day }} as timestamp) at time zone '{{ perennial.setting("timezone") }}') at time zone 'UTC'
{%- endmacro %}

{% macro spark__start_of_day_utc(day) -%}
    to_utc_timestamp(cast({{ day }} as timestamp), '{{ perennial.setting("timezone") }}')
{%- endmacro %}

{#- Seconds from one timestamp to a later one, with their fraction. -#}
{% macro seconds_between(earlier, later) %}
    {{- return(adapter.dispatch('seconds_between', 'perennial')(earlier, later)) -}}
{% endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1000000.0
{%- endmacro %}

{% macro spark__seconds_between(earlier, later) -%}
    (unix_micros({{ later }}) - unix_micros({{ earlier }})) / cast(1000000 as double)
{%- endmacro %}

{#- The latest value that is not null, up to and including the current row of the window. -#}
{% macro last_known(value, partition_by, order_by) %}
    {{- return(adapter.dispatch('last_known', 'perennial')(value, partition_by, order_by)) -}}
{% endmacro %}

{% macro default__last_known(value, partition_by, order_by) -%}
    last_value({{ value }} ignore nulls) over (
        partition by {{ partition_by }}
        order by {{ order_by }}
        rows between unbounded preceding and current row
    )
{%- endmacro %}

{% macro spark__last_known(value, partition_by, order_by) -%}
    last_value({{ value }}, true) over (
        partition by {{ partition_by }}
        order by {{ order_by }}
        rows between unbounded preceding and current row
    )
{%- endmacro %}

{#- One row per whole number from first to last; the column is called n. -#}
{% macro numbers(first, last) %}
    {{- return(adapter.dispatch('numbers', 'perennial')(first, last)) -}}
{% endmacro %}

{% macro default__numbers(first, last) -%}
    select cast(unnest(range({{ first }}, {{ last }} + 1)) as bigint) as n
{%- endmacro %}

{% macro spark__numbers(first, last) -%}
    select explode(sequence(cast({{ first }} as bigint), cast({{ last }} as bigint))) as n
{%- endmacro %}

{#- A date some days later (earlier where the number is negative). -#}
{% macro add_days(day, n) -%}
    cast({{ day }} + cast({{ n }} as integer) as date)
{%- endmacro %}

{#- A date some months later; the month's last day where it has no such day. -#}
{% macro add_months(day, n) %}
    {{- return(adapter.dispatch('add_months', 'perennial')(day, n)) -}}
{% endmacro %}

{% macro default__add_months(day, n) -%}
    cast({{ day }} + to_months(cast({{ n }} as integer)) as date)
{%- endmacro %}

{% macro spark__add_months(day, n) -%}
    add_months({{ day }}, cast({{ n }} as integer))
{%- endmacro %}


{#- A float as a decimal of twelve places, whose sum is the same in whatever order it is taken. -#}
{% macro exact(value) -%}
    cast({{ value }} as decimal(24, 12))
{%- endmacro %}


{#- A whole number that equal keys share, and different ones hardly ever. -#}
{% macro key_hash(columns) %}
    {{- return(adapter.dispatch('key_hash', 'perennial')(columns)) -}}
{% endmacro %}

{% macro default__key_hash(columns) -%}
    hash({{ columns | join(', ') }})
{%- endmacro %}

{% macro spark__key_hash(columns) -%}
    xxhash64({{ columns | join(', ') }})
{%- endmacro %}


{#- One item, counted from 0, of a text that is a JSON array of texts. -#}
{% macro json_item(array, n) %}
    {{- return(adapter.dispatch('json_item', 'perennial')(array, n)) -}}
{% endmacro %}

{% macro default__json_item(array, n) -%}
    json_extract_string({{ array }}, '$[{{ n }}]')
{%- endmacro %}

{% macro spark__json_item(array, n) -%}
    get_json_object({{ array }}, '$[{{ n }}]')
{%- endmacro %}


{#- Whether a text is valid JSON. -#}
{% macro is_json(text) %}
    {{- return(adapter.dispatch('is_json', 'perennial')(text)) -}}
{% endmacro %}

{% macro default__is_json(text) -%}
    json_valid({{ text }})
{%- endmacro %}

{% macro spark__is_json(text) -%}
    (try_parse_json({{ text }}) is not null)
{%- endmacro %}


{#- A value of any type as JSON text. -#}
{% macro as_json(value) %}
    {{- return(adapter.dispatch('as_json', 'perennial')(value)) -}}
{% endmacro %}

{% macro default__as_json(value) -%}
    cast(to_json({{ value }}) as string)
{%- endmacro %}

{% macro spark__as_json(value) -%}
    to_json({{ value }}, map('ignoreNullFields', 'false'))
{%- endmacro %}


{#- A whole row of a relation, as one value. -#}
{% macro whole_row(alias) %}
    {{- return(adapter.dispatch('whole_row', 'perennial')(alias)) -}}
{% endmacro %}

{% macro default__whole_row(alias) -%}
    {{ alias }}
{%- endmacro %}

{% macro spark__whole_row(alias) -%}
    struct({{ alias }}.*)
{%- endmacro %}


{#- The values of a group as a list, the smallest first. -#}
{% macro sorted_list(value) %}
    {{- return(adapter.dispatch('sorted_list', 'perennial')(value)) -}}
{% endmacro %}

{% macro default__sorted_list(value) -%}
    list_sort(list({{ value }}))
{%- endmacro %}

{% macro spark__sorted_list(value) -%}
    sort_array(collect_list({{ value }}))
{%- endmacro %}


{#- A text as a UTC timestamp, null where it is none; without an offset it is UTC. -#}
{% macro text_as_timestamp(text) %}
    {{- return(adapter.dispatch('text_as_timestamp', 'perennial')(text)) -}}
{% endmacro %}

{#- By way of timestamptz: a plain cast would drop an offset such as +02:00. -#}
{% macro default__text_as_timestamp(text) -%}
    try_cast({{ text }} as timestamptz) at time zone 'UTC'
{%- endmacro %}

{#- Spark would take '2024' for a moment, too. -#}
{% macro spark__text_as_timestamp(text) -%}
    case when {{ text }} rlike '^[0-9]+-[0-9]+-[0-9]+' then try_cast({{ text }} as timestamp) end
{%- endmacro %}


{#- A text as a float, null where it is none or not finite. -#}
{% macro text_as_double(text) %}
    {{- return(adapter.dispatch('text_as_double', 'perennial')(text)) -}}
{% endmacro %}

{% macro default__text_as_double(text) -%}
    case when isfinite(try_cast({{ text }} as double)) then try_cast({{ text }} as double) end
{%- endmacro %}

{% macro spark__text_as_double(text) -%}
    case when abs(try_cast({{ text }} as double)) < double('infinity') then try_cast({{ text }} as double) end
{%- endmacro %}


{#- Whether a regular expression is found in a text. -#}
{% macro matches(text, pattern) %}
    {{- return(adapter.dispatch('matches', 'perennial')(text, pattern)) -}}
{% endmacro %}

{% macro default__matches(text, pattern) -%}
    regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro spark__matches(text, pattern) -%}
    {{ text }} rlike '{{ pattern }}'
{%- endmacro %}


{#-
How models follow what changed: `touched keys`, or `none` where every table is made in full. On
Spark's parquet tables rows cannot be replaced.
-#}
{% macro incremental_strategy() %}
    {{- return(adapter.dispatch('incremental_strategy', 'perennial')()) -}}
{% endmacro %}

{% macro default__incremental_strategy() %}
    {% do return('touched keys') %}
{% endmacro %}

{% macro spark__incremental_strategy() %}
    {% do return('none') %}
{% endmacro %}


{#- The time zone of the session. -#}
{% macro session_time_zone() %}
    {{- return(adapter.dispatch('session_time_zone', 'perennial')()) -}}
{% endmacro %}

{% macro default__session_time_zone() -%}
    current_setting('TimeZone')
{%- endmacro %}

{% macro spark__session_time_zone() -%}
    current_timezone()
{%- endmacro %}


{#- Whether a text is the name of a time zone. -#}
{% macro is_time_zone(zone) %}
    {{- return(adapter.dispatch('is_time_zone', 'perennial')(zone)) -}}
{% endmacro %}

{% macro default__is_time_zone(zone) -%}
    exists (
        select 1 from pg_timezone_names() where name = '{{ zone | replace("'", "''") }}'
    )
{%- endmacro %}

{#- Spark has no list of them, but stops at a conversion into a zone that it does not know. -#}
{% macro spark__is_time_zone(zone) -%}
    from_utc_timestamp(current_timestamp(), '{{ zone | replace("'", "''") }}') is not null
{%- endmacro %}


{#- Whether dbt runs Python models on this engine; dbt-spark does not by a session. -#}
{% macro runs_python() %}
    {{- return(adapter.dispatch('runs_python', 'perennial')()) -}}
{% endmacro %}

{% macro default__runs_python() %}
    {% do return(true) %}
{% endmacro %}

{% macro spark__runs_python() %}
    {% do return(false) %}
{% endmacro %}
