{#- The calendar day, in the shop's time zone, of a UTC timestamp. -#}
{% macro local_date(moment) -%}
    cast({{ perennial.local_timestamp(moment) }} as date)
{%- endmacro %}


{#-
The first day of the period that a date lies in. Weeks begin on the setting `week_start`.

Arguments:
  grain   week or month
  day     an expression of type date
-#}
{% macro period_start(grain, day) -%}
    {%- if grain == 'month' -%}
        cast(date_trunc('month', {{ day }}) as date)
    {%- elif grain == 'week' -%}
        {#- date_trunc begins weeks on Monday: move the day there and back again. -#}
        {%- set shift = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday',
            'sunday'].index(perennial.setting('week_start')) -%}
        {{ perennial.add_days('cast(date_trunc(\'week\', ' ~ perennial.add_days(day, -shift) ~ ') as date)', shift) }}
    {%- else -%}
        {{ perennial.stop("period_start() knows week and month, not " ~ grain ~ '.') }}
    {%- endif -%}
{%- endmacro %}


{#- How many periods lie between the first days of two periods. -#}
{% macro periods_between(grain, earlier, later) -%}
    {%- if grain == 'month' -%}
        ((year({{ later }}) * 12 + month({{ later }})) - (year({{ earlier }}) * 12 + month({{ earlier }})))
    {%- else -%}
        cast(floor(({{ later }} - {{ earlier }}) / 7) as bigint)
    {%- endif -%}
{%- endmacro %}


{#- The first day of the period that comes n periods after the one that begins on `day`. -#}
{% macro add_periods(grain, day, n) -%}
    {%- if grain == 'month' -%}
        {{ perennial.add_months(day, n) }}
    {%- else -%}
        {{ perennial.add_days(day, '7 * (' ~ n ~ ')') }}
    {%- endif -%}
{%- endmacro %}


{#-
When a row became known to the shop: when it was ingested, but never before it happened.
Rows of the first day of ingestion are the shop's history, brought in at one go; each of
them was known to the shop when it happened. So are rows without `ingested_at`.

Arguments:
  happened_at       when it happened
  ingested_at       when it was ingested, may be null
  first_ingested_on the day of the first ingestion of the table, may be null
-#}
{% macro known_at(happened_at, ingested_at, first_ingested_on) -%}
    case
        when cast({{ ingested_at }} as date) > {{ first_ingested_on }}
            then greatest({{ happened_at }}, {{ ingested_at }})
        else {{ happened_at }}
    end
{%- endmacro %}
