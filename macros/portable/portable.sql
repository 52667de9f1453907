{#- What engines say differently, each difference in one place. DuckDB is the default. -#}

{#- The wall-clock moment in the shop's time zone of a UTC timestamp. -#}
{% macro local_timestamp(moment) %}
    {{- return(adapter.dispatch('local_timestamp', 'perennial')(moment)) -}}
{% endmacro %}

{% macro default__local_timestamp(moment) -%}
    (({{ moment }}) at time zone 'UTC') at time zone '{{ perennial.setting("timezone") }}'
{%- endmacro %}

{#- The UTC moment at which a date begins in the shop's time zone. -#}
{% macro start_of_day_utc(day) %}
    {{- return(adapter.dispatch('start_of_day_utc', 'perennial')(day)) -}}
{% endmacro %}

{% macro default__start_of_day_utc(day) -%}
    (cast({{ day }} as timestamp) at time zone '{{ perennial.setting("timezone") }}') at time zone 'UTC'
{%- endmacro %}

{#- Seconds from one timestamp to a later one, with their fraction. -#}
{% macro seconds_between(earlier, later) %}
    {{- return(adapter.dispatch('seconds_between', 'perennial')(earlier, later)) -}}
{% endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    (epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1000000.0
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

{#- One row per whole number from first to last; the column is called n. -#}
{% macro numbers(first, last) %}
    {{- return(adapter.dispatch('numbers', 'perennial')(first, last)) -}}
{% endmacro %}

{% macro default__numbers(first, last) -%}
    select cast(unnest(range({{ first }}, {{ last }} + 1)) as bigint) as n
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


{#- One item, counted from 0, of a text that is a JSON array of texts. -#}
{% macro json_item(array, n) %}
    {{- return(adapter.dispatch('json_item', 'perennial')(array, n)) -}}
{% endmacro %}

{% macro default__json_item(array, n) -%}
    json_extract_string({{ array }}, '$[{{ n }}]')
{%- endmacro %}
