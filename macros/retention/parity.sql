{#-
What retention_parity counts: a name, what a customer starts with, and what counts as a return.
-#}
{% macro parity_activities() %}
    {% do return([
        ('order', 'order', 'order'), ('visit', 'visit', 'visit'),
        ('visit_after_order', 'order', 'visit'),
    ]) %}
{% endmacro %}


{#- Up to which period number retention_parity counts, by grain. -#}
{% macro parity_periods() %}
    {% do return({'day': 14, 'week': 12, 'month': 12}) %}
{% endmacro %}


{#-
The ways of cutting time into periods, as pairs of a grain and a name. For days, periods of the
calendar and dates from the customer's own first day are the same; months of 30 days are no
matter of days and weeks.
-#}
{% macro parity_windows() %}
    {% do return([
        ('day', 'calendar'), ('day', 'moments'), ('day', 'hours'),
        ('week', 'calendar'), ('week', 'own_days'), ('week', 'moments'),
        ('month', 'calendar'), ('month', 'own_days'), ('month', 'own_30_days'),
        ('month', 'moments'),
    ]) %}
{% endmacro %}


{#-
Which of parity_windows() a set of rules uses, as an expression.

Arguments:
  grain    an expression: day, week or month
  clock    an expression: calendar or rolling
  month    an expression: calendar or 30_days
  windows  an expression: dates, moments or hours
-#}
{% macro parity_windows_of(grain, clock, month, windows) -%}
    case
        when {{ clock }} = 'calendar' then 'calendar'
        when {{ windows }} <> 'dates' then {{ windows }}
        when {{ grain }} = 'day' then 'calendar'
        when {{ grain }} = 'month' and {{ month }} = '30_days' then 'own_30_days'
        else 'own_days'
    end
{%- endmacro %}


{#- How often a month has passed between two dates: on the same day of a month, or its last. -#}
{% macro whole_months(earlier, later) -%}
    {%- set months = perennial.periods_between('month', earlier, later) -%}
    {{ months }}
    - case when {{ perennial.add_months(earlier, months) }} > {{ later }} then 1 else 0 end
{%- endmacro %}


{#- The hour, counted from 1970 in UTC, that a moment lies in. -#}
{% macro hour_index(moment) -%}
    floor({{ perennial.seconds_between("timestamp '1970-01-01 00:00:00'", moment) }} / 3600)
{%- endmacro %}


{#-
In which period after a start something happened, as an expression; the start's own is 0.

Arguments:
  grain       day, week or month
  windows     one of parity_windows()
  started_at  an expression: the start, UTC
  started_on  an expression: its day in the shop's time zone
  at          an expression: when it happened, UTC
  on_day      an expression: its day in the shop's time zone
-#}
{% macro parity_period(grain, windows, started_at, started_on, at, on_day) -%}
    {%- set n_days = {'day': 1, 'week': 7, 'month': 30}[grain] -%}
    {%- if windows == 'calendar' -%}
        {{ perennial.periods_between(
            grain, perennial.period_start(grain, started_on), perennial.period_start(grain, on_day)
        ) }}
    {%- elif windows == 'moments' -%}
        floor({{ perennial.seconds_between(started_at, at) }} / {{ n_days * 86400 }})
    {%- elif windows == 'hours' -%}
        floor(
            ({{ perennial.hour_index(at) }} - {{ perennial.hour_index(started_at) }})
            / {{ n_days * 24 }}
        )
    {%- elif windows == 'own_days' and grain == 'month' -%}
        {{ perennial.whole_months(started_on, on_day) }}
    {%- else -%}
        floor(cast({{ on_day }} - {{ started_on }} as integer) / {{ n_days }})
    {%- endif -%}
{%- endmacro %}


{#-
How many of a cell's customers a set of rules counts as retained, as an expression.

Arguments:
  kind         an expression: exact or unbounded
  period_zero  an expression: start, again or always
  counts       alias of retention_parity_counts
-#}
{% macro parity_retained(kind, period_zero, counts) -%}
    case
        when {{ counts }}.period_number = 0 and {{ period_zero }} = 'always'
            then {{ counts }}.n_customers
        when {{ counts }}.period_number = 0 and {{ period_zero }} = 'again'
            then
                case
                    when {{ kind }} = 'unbounded' then {{ counts }}.n_again_on_or_after
                    else {{ counts }}.n_again_on
                end
        when {{ kind }} = 'unbounded' then {{ counts }}.n_on_or_after
        else {{ counts }}.n_on
    end
{%- endmacro %}
