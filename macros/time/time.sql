{#- The calendar day, in the shop's time zone, of a UTC timestamp. -#}
{% macro local_date(moment) -%}
    cast({{ perennial.local_timestamp(moment) }} as date)
{%- endmacro %}


{#-
The first day of the period that a date lies in. Weeks begin on the setting `week_start`.

Arguments:
  grain   day, week or month
  day     an expression of type date
-#}
{% macro period_start(grain, day) -%}
    {%- if grain == 'day' -%}
        {{ day }}
    {%- elif grain == 'month' -%}
        cast(date_trunc('month', {{ day }}) as date)
    {%- elif grain == 'week' -%}
        {#- date_trunc begins weeks on Monday: move the day there and back again. -#}
        {%- set shift = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday',
            'sunday'].index(perennial.setting('week_start')) -%}
        {{ perennial.add_days('cast(date_trunc(\'week\', ' ~ perennial.add_days(day, -shift) ~ ') as date)', shift) }}
    {%- else -%}
        {{ perennial.stop("period_start() knows day, week and month, not " ~ grain ~ '.') }}
    {%- endif -%}
{%- endmacro %}


{#- How many periods lie between the first days of two periods. -#}
{% macro periods_between(grain, earlier, later) -%}
    {%- if grain == 'month' -%}
        ((year({{ later }}) * 12 + month({{ later }})) - (year({{ earlier }}) * 12 + month({{ earlier }})))
    {%- elif grain == 'day' -%}
        cast({{ later }} - {{ earlier }} as integer)
    {%- else -%}
        cast(floor(cast({{ later }} - {{ earlier }} as integer) / 7) as bigint)
    {%- endif -%}
{%- endmacro %}


{#- How many years are complete between two dates, as age is counted. -#}
{% macro full_years(earlier, later) -%}
    floor(
        (
            10000 * year({{ later }}) + 100 * month({{ later }}) + day({{ later }})
            - 10000 * year({{ earlier }}) - 100 * month({{ earlier }}) - day({{ earlier }})
        )
        / 10000
    )
{%- endmacro %}


{#- The first day of the period that comes n periods after the one that begins on `day`. -#}
{% macro add_periods(grain, day, n) -%}
    {%- if grain == 'month' -%}
        {{ perennial.add_months(day, n) }}
    {%- elif grain == 'day' -%}
        {{ perennial.add_days(day, n) }}
    {%- else -%}
        {{ perennial.add_days(day, '7 * (' ~ n ~ ')') }}
    {%- endif -%}
{%- endmacro %}


{#-
When a row became known to the shop: when its first version was ingested, but never before it
happened. The first load brings a shop's history at one go, and each row of that was known
when it happened: so are rows ingested by the setting history_loaded_until, or else within a
day of the table's first; and rows without `ingested_at`.

Arguments:
  happened_at        when it happened
  first_ingested_at  when its first version was ingested, may be null
  load_began_at      when the first row of the table was ingested, may be null
-#}
{% macro known_at(happened_at, first_ingested_at, load_began_at) -%}
    case
        when {{ first_ingested_at }} >
            {%- if perennial.setting('history_loaded_until') is none %} {{ load_began_at }} + interval '1' day
            {%- else %} timestamp '{{ perennial.setting("history_loaded_until") }}'
            {%- endif %}
            then greatest({{ happened_at }}, {{ first_ingested_at }})
        else {{ happened_at }}
    end
{%- endmacro %}
